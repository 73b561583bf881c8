"""Settings: ztunnel's names, and errors that name the variable."""

from __future__ import annotations

import ast
import inspect
import json
import logging
import textwrap
from dataclasses import asdict
from pathlib import Path

import pytest

import proxy
from proxy.config import InvalidSetting, LogFormat, Loop, Reuse, SameNode, Settings, variables
from proxy.environment import Secret


def test_an_empty_environment_gives_the_defaults() -> None:
    assert Settings.from_env({}) == Settings()
    assert Settings.from_env({"SECRET_TTL": "", "UNRELATED": "x"}) == Settings()


def test_every_kind_of_value() -> None:
    settings = Settings.from_env(
        {
            "NODE_NAME": "a",
            "LOCAL_XDS_PATH": "/run/mesh.json",
            "CA_ADDRESS": "unix:///run/ca.sock",
            "SECRET_TTL": "1h30m",
            "PACKET_MARK": "0x539",
            "IPV6_ENABLED": "false",
            "POOL_MAX_STREAMS_PER_CONNECTION": "1",
            "PYZTUNNEL_REUSE": "off",
            "PYZTUNNEL_SAME_NODE": "plaintext",
            "PYZTUNNEL_ADMIN_PORT": "off",
            "PYZTUNNEL_STATS_PORT": "9090",
            "PYZTUNNEL_LOOP": "asyncio",
            "LOG_FORMAT": "json",
            "RUST_LOG": "warn,access=info",
        }
    )

    assert settings == Settings(
        node="a",
        mesh_document=Path("/run/mesh.json"),
        ca_address="unix:///run/ca.sock",
        certificate_ttl_s=5400.0,
        packet_mark=1337,
        ipv6=False,
        max_streams=1,
        reuse=Reuse.OFF,
        same_node=SameNode.PLAINTEXT,
        admin_port=None,
        stats_port=9090,
        loop=Loop.ASYNCIO,
        log_format=LogFormat.JSON,
        log_levels=(("", logging.WARNING), ("access", logging.INFO)),
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECRET_TTL", "0s"),
        ("SECRET_TTL", "-1s"),
        ("SECRET_TTL", "1h 30x"),
        ("PACKET_MARK", "0"),
        ("PACKET_MARK", "4294967296"),
        ("IPV6_ENABLED", "maybe"),
        ("HTTP2_FRAME_SIZE", "16383"),
        ("PYZTUNNEL_REUSE", "On"),
        ("PYZTUNNEL_ADMIN_PORT", "0"),
        ("LOG_FORMAT", "xml"),
        ("RUST_LOG", "loud"),
        ("RUST_LOG", "=info"),
        ("CA_ADDRESS", "http://ca.example:15012"),
        ("CLUSTER_ID", "c\n"),
        ("ISTIO_META_CLUSTER_ID", "c\x00"),
        ("CA_HEADER_X", "two\nlines"),
        ("CA_HEADER_GRPC-TIMEOUT", "1S"),
        ("CA_HEADER_", "x"),
        ("PROXY_MODE", "dedicated"),
        ("PROXY_WORKLOAD_INFO", "ns/name"),
        ("PYZTUNNEL_SOCKS_LISTEN", "localhost:1080"),
        ("PYZTUNNEL_SOCKS_LISTEN", "127.0.0.1"),
        ("TERMINATION_GRACE_PERIOD_SECONDS", "soon"),
    ],
)
def test_a_malformed_value_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(InvalidSetting, match=name.removeprefix("ISTIO_META_")) as failed:
        Settings.from_env({name: value})
    assert "two" not in str(failed.value)


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({}, "PROXY_WORKLOAD_INFO is not set"),
        ({"PROXY_WORKLOAD_INFO": "ns/me/me", "PYZTUNNEL_SAME_NODE": "plaintext"}, "PYZTUNNEL_SAME_NODE"),
    ],
)
def test_explicit_mode_says_what_it_needs(env: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidSetting, match=said):
        Settings.from_env({"PROXY_MODE": "explicit", **env})


@pytest.mark.parametrize(
    ("listed", "aliases"),
    [("", set()), ("old.example", {"new.example", "old.example"}), ("a, b", {"new.example", "a", "b"})],
)
def test_aliases_are_the_trust_domain_and_its_further_names(listed: str, aliases: set[str]) -> None:
    """P49."""
    settings = Settings.from_env({"TRUST_DOMAIN": "new.example", "TRUST_DOMAINS": listed})

    assert settings.trust_domain_aliases == aliases


@pytest.mark.parametrize("listed", ["Old.Example", "a,,b", "spiffe://a", "a b"])
def test_what_is_no_trust_domain_is_no_alias(listed: str) -> None:
    """P49: it would never match."""
    with pytest.raises(InvalidSetting, match="TRUST_DOMAINS="):
        Settings.from_env({"TRUST_DOMAINS": listed})


def test_a_misspelt_name_of_ours_is_refused() -> None:
    with pytest.raises(InvalidSetting, match=r"PYZTUNNEL_REUSES: no such setting; known: .*PYZTUNNEL_REUSE"):
        Settings.from_env({"PYZTUNNEL_REUSES": "on"})


def test_windows_that_could_deadlock_are_refused() -> None:
    with pytest.raises(InvalidSetting, match="HTTP2_CONNECTION_WINDOW_SIZE"):
        Settings.from_env({"HTTP2_STREAM_WINDOW_SIZE": "16777216"})


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, 5.0),
        ({"TERMINATION_GRACE_PERIOD_SECONDS": "30"}, 25.0),
        ({"TERMINATION_GRACE_PERIOD_SECONDS": "11"}, 6.0),
        ({"TERMINATION_GRACE_PERIOD_SECONDS": "10"}, 9.0),
        ({"TERMINATION_GRACE_PERIOD_SECONDS": "8"}, 7.0),
        ({"TERMINATION_GRACE_PERIOD_SECONDS": "5"}, 4.0),
        ({"TERMINATION_GRACE_PERIOD_SECONDS": "2"}, 1.0),
        ({"TERMINATION_GRACE_PERIOD_SECONDS": "1"}, 1.0),
        ({"TERMINATION_GRACE_PERIOD_SECONDS": "30", "CONNECTION_TERMINATION_DEADLINE": "7s"}, 7.0),
    ],
)
def test_drain_deadline(env: dict[str, str], expected: float) -> None:
    """P28: of a short grace period a second is left, of a longer one five; as ztunnel."""
    assert Settings.from_env(env).drain_deadline_s == expected


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("istiod.istio-system.svc:15012", "https://istiod.istio-system.svc:15012"),
        ("https://localhost:15012", "https://localhost:15012"),
        ("unix:///run/ca.sock", "unix:///run/ca.sock"),
    ],
)
def test_an_authority_without_a_scheme_is_behind_https(given: str, address: str) -> None:
    assert Settings.from_env({"CA_ADDRESS": given}).ca_address == address


def test_what_is_told_to_the_authority(tmp_path: Path) -> None:
    """P33, P30: a token is a file's or, as for ztunnel, the text itself; headers are named by variables."""
    (tmp_path / "token").touch()
    settings = Settings.from_env(
        {
            "AUTH_TOKEN": "eyJ.x.y",
            "CA_HEADER_X-Tenant": "a b",
            "CA_HEADER_OTHER": "",
            "CLUSTER_ID": "one",
            "ISTIO_META_CLUSTER_ID": "two",
        }
    )

    assert settings.ca_token == Secret("eyJ.x.y")
    assert settings.ca_headers == (("other", Secret("")), ("x-tenant", Secret("a b")))
    assert settings.cluster == "two"
    assert Settings.from_env({"AUTH_TOKEN": f"{tmp_path}/token"}).ca_token == tmp_path / "token"
    assert Settings.from_env({"AUTH_TOKEN": "./absent"}).ca_token == Path("absent")


def test_no_secret_is_shown() -> None:
    """T42: neither in a dump nor in a traceback."""
    settings = Settings.from_env({"AUTH_TOKEN": "eyJ.x.y", "CA_HEADER_X": "hush"})

    dumped = json.dumps(asdict(settings), default=str) + repr(settings)
    assert "eyJ" not in dumped
    assert "hush" not in dumped


def test_every_variable_is_described_once() -> None:
    assert "24h" in variables()["SECRET_TTL"]
    assert len(variables()) == len(Settings.__dataclass_fields__)


def test_every_setting_has_an_effect() -> None:
    """P30: each field is read somewhere in the product, from what is called settings, or by properties."""
    root = Path(proxy.__file__).parent
    read = {
        node.attr
        for path in root.rglob("*.py")
        if "tests" not in path.parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value).endswith("settings")
    }
    for name, value in vars(Settings).items():
        if isinstance(value, property) and name in read and value.fget is not None:
            getter = ast.parse(textwrap.dedent(inspect.getsource(value.fget)))
            read |= {node.attr for node in ast.walk(getter) if isinstance(node, ast.Attribute)}

    assert set(Settings.__dataclass_fields__) - read == set()
