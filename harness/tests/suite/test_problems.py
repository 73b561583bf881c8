"""Every wrong suite ends in one message: where, which key, what was found, what is allowed or meant."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import ExitCode
from harness.suite import SuiteError, load_suite
from harness.suite.sources import SHIPPED

SMOKE = (SHIPPED / "smoke.toml").read_text()
COARSE = {"topology", "paths", "topology.pods.server-remote.node"}
"""Keys whose problem is not on the line that was changed."""


def complaint(path: Path | str, *overrides: str) -> str:
    with pytest.raises(SuiteError) as caught:
        load_suite(path, overrides, dataplanes=("none", "pyztunnel"))
    assert caught.value.exit_code == ExitCode.USAGE
    return str(caught.value)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "holds no keys"),
        ("# nothing\n", "holds no keys"),
        ("rounds = [", "no valid TOML"),
        ("rounds = 1\nrounds = 2\n", "line 2"),
        ("[a]\n[a]\n", "line 2"),
        ('extends = "mine"\n', "leads back to where it came from: mine -> mine"),
        ('extends = "nowhere"\n', "there is no"),
        ('extends = "../etc/passwd"\n', "the name of a suite, as in"),
        ("rounds = 1\n", "topology: missing"),
    ],
)
def test_files_that_are_no_suite(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in complaint(written(tmp_path, text))


def test_file_cannot_be_read(tmp_path: Path) -> None:
    assert "No such file" in complaint(tmp_path / "absent.toml")
    assert "Is a directory" in complaint(_folder(tmp_path / "folder.toml"))


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_file_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"description = '\xff'\n")
    assert "byte 15 is not UTF-8" in complaint(path)


def test_file_is_too_long(tmp_path: Path) -> None:
    assert "at most 1048576" in complaint(written(tmp_path, "#" * (1 << 20) + "\n"))


def test_file_is_nested_too_deeply(tmp_path: Path) -> None:
    assert complaint(written(tmp_path, "a = " + "[" * 5000 + "]" * 5000))


@pytest.mark.parametrize(
    ("old", "new", "key", "expected"),
    [
        ("probes = 5", "probess = 5", "load.first_packet.probess", "did you mean 'probes'"),
        ("probes = 5", 'probes = "5"', "load.first_packet.probes", 'found "5" (string)'),
        ("probes = 5", "probes = true", "load.first_packet.probes", "found true (boolean)"),
        ("probes = 5", "probes = 1e3", "load.first_packet.probes", "integer, 1 to 100000"),
        ("probes = 5", "probes = 0", "load.first_packet.probes", "integer, 1 to 100000"),
        ("hz = 200", "hz = nan", "load.rate.hz", "number, 0 to 1000000"),
        ("hz = 200", "hz = inf", "load.rate.hz", "number, 0 to 1000000"),
        ("hz = 200", "hz = -1", "load.rate.hz", "found -1"),
        ("[topology.pods.denied]", "[topology.pods.Denied]", "topology.pods.Denied", "a-z, 0-9"),
        ('nodes = ["a", "b"]', 'nodes = ["a", "b", "a"]', "topology", "twice"),
        ('nodes = ["a", "b"]', "nodes = []", "topology.nodes", "list of"),
        ('nodes = ["a", "b"]', 'nodes = ["a"]', "topology.pods.server-remote.node", "unknown node 'b'"),
        ('underlay = "172.30.0.0/24"', 'underlay = "172.30.0.1/24"', "topology.underlay", "no host bits set"),
        ('underlay = "172.30.0.0/24"', 'underlay = "10.244.3.0/24"', "topology", "overlaps"),
        (
            'action = "Deny"',
            'action = "deny"',
            "topology.policies.refuse-denied.action",
            "did you mean 'Deny'",
        ),
        (
            'scope = "Namespace"',
            'scope = "Workload"',
            "topology.policies.refuse-denied.scope",
            "WorkloadSelector",
        ),
        ('to = "server-local"', 'to = "server-locl"', "paths.same-node.to", "did you mean 'server-local'"),
        ('to = "server-local"', 'to = "client"', "paths.same-node.to", "runs the load"),
        ('to = "server-local"', 'to = "server-remote"', "paths.same-node", "on different nodes"),
        ('to = "server-remote"', 'to = "server-local"', "paths.cross-node", "needs two nodes"),
        ('to = "outside"', 'to = "server-local"', "paths.out-of-mesh", "captured = false"),
        ("cross-node = {", "crossnode = {", "paths.crossnode", "did you mean 'cross-node'"),
        (
            'interception = ["redirect"]',
            'interception = ["redirct"]',
            "matrix[1].interception[0]",
            "redirect",
        ),
        (
            'interception = ["redirect"]',
            'interception = ["none"]',
            "matrix[1].interception",
            "needs captured",
        ),
        (
            'interception = ["redirect"]',
            "streams_per_tunnel = [0]",
            "matrix[1].streams_per_tunnel[0]",
            "integer, 1 to 100",
        ),
        (
            'interception = ["redirect"]',
            "streams_per_tunnel = ['many']",
            "matrix[1].streams_per_tunnel[0]",
            'found "many" (string)',
        ),
        ('interception = ["redirect"]', "window_kib = [63]", "matrix[1].window_kib[0]", "64 to 65536"),
        ('interception = ["redirect"]', "policies = [20001]", "matrix[1].policies[0]", "0 to 20000"),
        ('interception = ["redirect"]', "filler_rules = [10001]", "matrix[1].filler_rules[0]", "0 to 10000"),
        ('interception = ["redirect"]', 'interception = "redirect"', "matrix[1].interception", "list of"),
        ('dataplane = ["none"]', 'dataplane = ["nune"]', "matrix[0].dataplane", "did you mean 'none'"),
        (
            "resolution_percent = 5.0",
            "resolution_percent = 0",
            "thresholds.resolution_percent",
            "more than 0",
        ),
        ("response_bytes = 128", "response_bytes = 129", "load.response_bytes", "0, 128, 1024"),
    ],
)
def test_wrong_value_is_named_with_file_line_and_key(
    tmp_path: Path, old: str, new: str, key: str, expected: str
) -> None:
    assert old in SMOKE
    text = SMOKE.replace(old, new, 1)

    message = complaint(written(tmp_path, text))

    assert key in message
    assert expected in message
    assert str(tmp_path / "mine.toml") in message
    if key not in COARSE:
        line = SMOKE[: SMOKE.index(old)].count("\n") + 1
        assert message.startswith(f"{tmp_path / 'mine.toml'}:{line}: {key}: ")


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    text = (
        SMOKE.replace("hz = 200", "hz = -1")
        .replace("probes = 5", "probes = 0")
        .replace("rounds = 1", "rouns = 1")
    )

    lines = complaint(written(tmp_path, text)).splitlines()

    assert len(lines) == 3  # `rounds`, misspelt, is not told to be missing besides


def test_the_line_is_that_of_the_file_that_says_it(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(SMOKE.replace("probes = 5", "probes = 0"))

    message = complaint(written(tmp_path, '\n\nextends = "base"\n'))

    number = SMOKE[: SMOKE.index("first_packet = ")].count("\n") + 1
    assert message.startswith(f"{tmp_path / 'base.toml'}:{number}: load.first_packet.probes")


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("rounds", "key=value"),
        ("=3", "key=value"),
        ("matrix[9].path=['same-node']", "a list of 4"),
        ("rounds.more=1", "no table"),
        ("rounds=many", 'found "many"'),
        ("nonsense=1", "unknown key"),
    ],
)
def test_wrong_overrides_name_the_option(option: str, expected: str) -> None:
    message = complaint("smoke", option)

    assert message.startswith(f"-s {option}")
    assert expected in message


@settings(max_examples=60, deadline=None)
@given(
    key=st.sampled_from(
        ["rounds", "seed", "load.rate.hz", "topology.nodes", "paths", "matrix", "vary", "default"]
    ),
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=6,
    ),
)
def test_any_value_is_taken_or_refused_without_a_traceback(key: str, value: object) -> None:
    with suppress(SuiteError):
        load_suite("smoke", [f"{key}={value!r}"], dataplanes=("none", "pyztunnel"))


@pytest.mark.parametrize(
    ("factor", "value", "expected"),
    [
        ("streams_per_tunnel", 101, "integer, 1 to 100"),
        ("window_kib", 1, "integer, 64 to 65536"),
        ("policies", -1, "integer, 0 to 20000"),
        ("filler_rules", 10001, "integer, 0 to 10000"),
    ],
)
def test_a_varied_factor_has_the_bounds_of_the_matrix(factor: str, value: int, expected: str) -> None:
    message = complaint("smoke", f"vary=[{{factor='{factor}', values=[{value}]}}]")

    assert "vary[0].values[0]" in message
    assert expected in message


@pytest.mark.parametrize(
    ("factor", "path"),
    [("streams_per_tunnel", "out-of-mesh"), ("window_kib", "out-of-mesh"), ("policies", "out-of-mesh")],
)
def test_a_factor_that_does_nothing_on_its_path_is_a_problem(factor: str, path: str) -> None:
    """Out of the mesh there is no tunnel, and policies are those of a destination that is in it."""
    message = complaint(
        "smoke", f"vary=[{{factor='{factor}', values=[100, 64, 10], at={{path=['{path}']}}}}]"
    )

    assert f"does nothing on path '{path}'" in message


def test_envoy_is_refused_what_it_does_not_know() -> None:
    with pytest.raises(SuiteError) as caught:
        load_suite(
            "smoke",
            [
                (
                    "matrix=[{path=['cross-node'], dataplane=['envoy'], interception=['redirect'], "
                    "policies=[10], streams_per_tunnel=[1]}]"
                )
            ],
        )

    assert "data plane 'envoy' does not know '10'" in str(caught.value)
    assert "data plane 'envoy' does not know '1'" in str(caught.value)
