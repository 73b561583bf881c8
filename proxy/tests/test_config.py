"""Settings: ztunnel's names, and errors that name the variable."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from proxy.config import InvalidSetting, LogFormat, Loop, Reuse, SameNode, Settings, duration_s, variables


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
        ("SECRET_TTL", "24"),
        ("SECRET_TTL", "0s"),
        ("SECRET_TTL", "-1s"),
        ("SECRET_TTL", "1h 30m"),
        ("PACKET_MARK", "0"),
        ("PACKET_MARK", "4294967296"),
        ("IPV6_ENABLED", "maybe"),
        ("HTTP2_FRAME_SIZE", "16383"),
        ("PYZTUNNEL_REUSE", "On"),
        ("PYZTUNNEL_ADMIN_PORT", "0"),
        ("LOG_FORMAT", "xml"),
        ("RUST_LOG", "loud"),
        ("RUST_LOG", "=info"),
        ("CA_ADDRESS", "ca.example:15012"),
        ("PROXY_MODE", "dedicated"),
        ("PROXY_WORKLOAD_INFO", "ns/name"),
        ("PYZTUNNEL_SOCKS_LISTEN", "localhost:1080"),
        ("PYZTUNNEL_SOCKS_LISTEN", "127.0.0.1"),
        ("TERMINATION_GRACE_PERIOD_SECONDS", "soon"),
    ],
)
def test_a_malformed_value_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(InvalidSetting, match=name):
        Settings.from_env({name: value})


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
        ({"TERMINATION_GRACE_PERIOD_SECONDS": "2"}, 1.0),
        ({"TERMINATION_GRACE_PERIOD_SECONDS": "30", "CONNECTION_TERMINATION_DEADLINE": "7s"}, 7.0),
    ],
)
def test_drain_deadline(env: dict[str, str], expected: float) -> None:
    assert Settings.from_env(env).drain_deadline_s == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("10ms", 0.01), ("1m30s", 90.0), ("24h", 86400.0), ("1.5s", 1.5), ("1d", 86400.0)]
)
def test_durations(text: str, expected: float) -> None:
    assert duration_s(text) == pytest.approx(expected)


def test_every_variable_is_described_once() -> None:
    assert "24h" in variables()["SECRET_TTL"]
    assert len(variables()) == len(Settings.__dataclass_fields__)
