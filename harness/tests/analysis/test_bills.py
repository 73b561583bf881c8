"""Who paid: an honest cell's readings turn into cost per unit of work."""

from __future__ import annotations

import pandas as pd
import pytest

from harness.analysis import bills
from harness.evidence.sources.cpu import Component
from harness.plan.model import Configuration, Interception, Path, Reuse, State
from harness.tests.evidence import walk

CROSS = Configuration(path=Path.CROSS_NODE, dataplane="pyztunnel", interception=Interception.REDIRECT)


def _frames() -> dict[str, pd.DataFrame]:
    probe = [
        {"ok": 1, "sequence": sequence} for _ in range(2 * walk.PROBES) for sequence in range(1 + walk.LATER)
    ]
    requests = {
        stage: pd.DataFrame([{"ok": 1}] * rows)
        for stage, rows in (("rate", walk.RATE_ROWS), ("requests", walk.REQUESTS_ROWS))
    }
    transfer = pd.DataFrame([{"ok": 1, "bytes": 250_000_000}] * walk.TRANSFER_ROWS)
    return {"probe": pd.DataFrame(probe), **requests, "transfer": transfer}


def _measured(configuration: Configuration) -> dict[str, float]:
    case = walk.honest(configuration)
    found = bills.measure(case, bills.stage_bills(case, _frames()), later=walk.LATER)
    return {each.metric: each.value for each in found}


def test_cost_is_per_unit_of_work_and_first_packets_without_their_later_requests() -> None:
    found = _measured(CROSS)

    assert found["cpu.later"] == pytest.approx(2 * walk.CPU_S["rate"])
    assert found["cpu.request"] == pytest.approx(2 * walk.CPU_S["requests"])
    assert found["cpu.path.request"] == pytest.approx(4 * walk.CPU_S["requests"])
    gigabytes = walk.TRANSFER_ROWS * 0.25
    assert found["cpu.gigabyte"] == pytest.approx(2 * walk.CPU_S["transfer"] * walk.TRANSFER_ROWS / gigabytes)
    assert found["cpu.first.cold"] == pytest.approx(walk.FIRST_S[State.COLD], rel=1e-6)
    assert found["cpu.first.warm"] == pytest.approx(walk.FIRST_S[State.WARM], rel=1e-6)
    assert found["switches.later"] == pytest.approx(2 * walk.SWITCHES)
    assert found["switches.first.cold"] == pytest.approx(9)
    assert found["memory.resident"] == 2 * 60e6


def test_without_a_mesh_only_the_path_as_a_whole_has_a_price() -> None:
    direct = Configuration(path=Path.CROSS_NODE, dataplane="none", interception=Interception.NONE)

    assert sorted(_measured(direct)) == ["cpu.path.gigabyte", "cpu.path.request"]


def test_without_reuse_there_is_no_warm_first_packet_to_pay_for() -> None:
    off = Configuration(
        path=Path.CROSS_NODE, dataplane="pyztunnel", interception=Interception.REDIRECT, reuse=Reuse.OFF
    )

    found = _measured(off)
    assert "cpu.first.cold" in found
    assert "cpu.first.warm" not in found


@pytest.mark.parametrize(
    ("path", "proxies"),
    [
        (Path.SAME_NODE, {Component.PROXY_OF_BOTH}),
        (Path.CROSS_NODE, {Component.SOURCE_PROXY, Component.DESTINATION_PROXY}),
        (Path.OUT_OF_MESH, {Component.SOURCE_PROXY}),
        (Path.INTO_MESH, {Component.DESTINATION_PROXY}),
    ],
)
def test_the_proxies_of_a_path_are_its_own(path: Path, proxies: set[Component]) -> None:
    case = walk.honest(Configuration(path=path, dataplane="pyztunnel", interception=Interception.REDIRECT))

    stage = bills.stage_bills(case, _frames())["rate"]

    assert {component for component in stage.components if component.proxy} == proxies


def test_bills_of_several_cells_add_up_and_memory_does_not() -> None:
    case = walk.honest(CROSS)
    one = bills.stage_bills(case, _frames())

    both = bills.together(CROSS, [one, one, {}])

    assert both.cells == 2
    rows = sum((walk.PROBES * 2 * (1 + walk.LATER), walk.RATE_ROWS, walk.REQUESTS_ROWS, walk.TRANSFER_ROWS))
    assert both.switches_per_cell()["backend"] == walk.SWITCHES * rows
    assert both.stages["rate"].work == 2 * one["rate"].work
    proxy = Component.SOURCE_PROXY
    assert both.stages["rate"].components[proxy].cpu_ns == 2 * one["rate"].components[proxy].cpu_ns
    assert both.stages["rate"].components[proxy].peak_bytes == 70_000_000
