"""A short run over two distances: cells are valid with the line in the way, and pay for it in round trips."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.plan.model import ROUND_TRIPS, State
from harness.results import layout

NEAR_MS, FAR_MS = 4, 40
SHORT = (
    "rounds=1",
    f"matrix[0].rtt_ms=[{NEAR_MS}, {FAR_MS}]",
    f"matrix[1].rtt_ms=[{NEAR_MS}, {FAR_MS}]",
    "matrix[1].interception=['tproxy-notrack']",
    "matrix[2].path=['same-node']",
    "default.interception='tproxy-notrack'",
    "load.first_packet.probes=5",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("results")
    overrides = [word for override in SHORT for word in ("-s", override)]
    command = [sys.executable, "-m", "harness", "run", "rtt-model", "--engine", "netns", *overrides]
    done = subprocess.run([*command, "--results", str(results)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (folder,) = results.iterdir()
    return folder


@pytest.mark.netns
def test_every_cell_is_valid_near_and_far(run: Path) -> None:
    findings = json.loads((run / layout.FINDINGS).read_text())

    assert 8 == findings["cells"]["planned"] == findings["cells"]["valid"]  # each distance has a twin


@pytest.mark.netns
@pytest.mark.parametrize(
    ("configuration", "state"),
    [
        ("cross-node.none", State.NEW),
        ("cross-node.none", State.STEADY),
        ("cross-node.pyztunnel.tproxy-notrack.reuse-on", State.COLD),
        ("cross-node.pyztunnel.tproxy-notrack.reuse-on", State.WARM),
    ],
)
def test_distance_is_paid_in_round_trips(run: Path, configuration: str, state: State) -> None:
    """Of one round, hence without an interval; noisy cells enter no comparison."""
    (slope,) = [
        each
        for each in json.loads((run / layout.FINDINGS).read_text())["rtt_model"]["slopes"]
        if each["configuration"] == configuration and each["metric"].endswith(state.value)
    ]
    near, far = slope["points"]

    trips = (far["latency_s"] - near["latency_s"]) / (far["rtt_s"] - near["rtt_s"])
    assert ROUND_TRIPS[state] - 0.5 < trips < ROUND_TRIPS[state] + 0.5
    assert (None, "open") == (slope["found"], slope["verdict"])


@pytest.mark.netns
def test_each_distance_was_measured_by_itself_and_in_its_cells(run: Path) -> None:
    by_itself: dict[str, Any] = json.loads((run / layout.DELAY).read_text())
    in_cells = {
        json.loads(path.read_text())["rtt_ns"] // 1_000_000
        for path in run.glob(f"{layout.CELLS}/*/{layout.EVIDENCE}/delay.json")
    }

    assert {0, NEAR_MS, FAR_MS} == {each["rtt_ms"] for each in by_itself["trips"]} == in_cells
    assert all(min(each["trips_ns"]) >= 1e6 * each["rtt_ms"] for each in by_itself["trips"])
