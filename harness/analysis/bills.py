"""Who paid for a cell: CPU time, context switches and memory of each component, per unit of work.

A stage's bill is divided by what the stage got done: connections of the probes, requests, gigabytes. Of the
first packets themselves only the proxies can tell, since probes of all states are interleaved: from their
account of a probe goes the control operation, and its later requests at the cost of those at a fixed rate,
which are as far apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.measures import Measured
from harness.evidence.case import Case
from harness.evidence.sources.cpu import TICKS_PER_S, Component, Cpu, Usage
from harness.evidence.sources.document import Unreadable
from harness.plan.model import Configuration, State

GIGABYTE = 1e9
CONTROL = "control"
"""The proxies' account of control operations alone."""
UNITS = {
    "probe": "connection, with its later requests",
    "rate": "request",
    "requests": "request",
    "transfer": "GB",
    "rtt": "round trip",
    "requests-alone": "request",
    "transfer-alone": "GB",
    "connects": "connection",
}
"""Stage -> what its bill is divided by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageBill:
    """One stage of one cell, or of several: what was used, and for how much work."""

    stage: str
    work: float
    """In the stage's unit."""
    components: Mapping[Component, Usage]
    busy_s: float
    """CPU time of the whole machine."""

    @property
    def proxies(self) -> list[Usage]:
        """What belongs to the data plane."""
        return [usage for component, usage in self.components.items() if component.proxy]

    @property
    def whole(self) -> bool:
        """Whether all that the path took is here; what lanes of a bout share is on the bill of none."""
        return Component.GENERATOR in self.components

    @property
    def elsewhere_s(self) -> float | None:
        """CPU time outside the path: the kernel's own threads, the harness, whatever else runs here.

        None where other lanes had their turns meanwhile.
        """
        if not self.whole:
            return None
        return max(0.0, self.busy_s - sum(usage.cpu_ns for usage in self.components.values()) / 1e9)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Each component's cost per unit of work."""
        for component, usage in self.components.items():
            counted = usage.user_ticks + usage.system_ticks
            yield {
                "component": component.value,
                "cpu_s": usage.cpu_ns / 1e9 / self.work,
                "kernel_share": usage.system_ticks / counted if counted else None,
                "voluntary_switches": usage.voluntary / self.work,
                "involuntary_switches": usage.involuntary / self.work,
                "waited_s": None if usage.waited_ns is None else usage.waited_ns / 1e9 / self.work,
                "rss_bytes": usage.rss_bytes,
                "peak_bytes": usage.peak_bytes,
            }

    def document(self) -> dict[str, Any]:
        """As saved: per unit of work."""
        return {
            "stage": self.stage,
            "unit": UNITS.get(self.stage, "row"),
            "work": self.work,
            "components": list(self.rows()),
            "elsewhere_s": None if self.elsewhere_s is None else self.elsewhere_s / self.work,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """A configuration's bill over its valid cells."""

    configuration: Configuration
    cells: int
    stages: Mapping[str, StageBill]

    def document(self) -> dict[str, Any]:
        """As saved."""
        return {
            "cells": self.cells,
            "switches_per_cell": self.switches_per_cell(),
            "stages": [each.document() for each in self.stages.values()],
        }

    def switches_per_cell(self) -> dict[str, float]:
        """Component -> context switches of both kinds in all stages of a cell, on average."""
        found: Counter[str] = Counter()
        for stage in self.stages.values():
            for component, usage in stage.components.items():
                found[component.value] += usage.switches
        return {component: count / self.cells for component, count in found.items()}


def stage_bills(case: Case, frames: Mapping[str, pd.DataFrame]) -> dict[str, StageBill]:
    """What each stage of a cell used; empty where the cell has no such evidence."""
    try:
        cpu = case.cpu
    except Unreadable:
        return {}
    return {
        stage: StageBill(
            stage=stage,
            work=work,
            components=cpu.stages[stage].components,
            busy_s=cpu.stages[stage].busy_ticks / TICKS_PER_S,
        )
        for stage, frame in frames.items()
        if stage in cpu.stages and (work := _work(stage, frame)) > 0
    }


def measure(case: Case, bills: Mapping[str, StageBill], *, later: int) -> Iterator[Measured]:
    """The metrics of cost that a cell's evidence holds.

    Args:
        case: The cell.
        bills: Of its stages.
        later: Requests that follow the first one on each probed connection.
    """
    if not bills:
        return
    yield from _under_load(bills)
    rate = bills.get("rate")
    if rate is None or not rate.proxies:
        return
    later_s = _cpu_s(rate.proxies) / rate.work
    later_switches = sum(usage.switches for usage in rate.proxies) / rate.work
    yield _measured("cpu.later", later_s, rate.work)
    yield _measured("switches.later", later_switches, rate.work)
    yield from _first(case.cpu, later, later_s, later_switches)


def together(configuration: Configuration, cells: Iterable[Mapping[str, StageBill]]) -> Bill:
    """The bills of several cells as one."""
    by_stage: dict[str, list[StageBill]] = {}
    count = 0
    for cell in cells:
        count += bool(cell)
        for stage, bill in cell.items():
            by_stage.setdefault(stage, []).append(bill)
    return Bill(
        configuration=configuration,
        cells=count,
        stages={stage: _summed(stage, bills) for stage, bills in by_stage.items()},
    )


def _summed(stage: str, bills: list[StageBill]) -> StageBill:
    components = dict.fromkeys(component for bill in bills for component in bill.components)
    return StageBill(
        stage=stage,
        work=sum(bill.work for bill in bills),
        components={
            component: _sum([bill.components[component] for bill in bills if component in bill.components])
            for component in components
        },
        busy_s=sum(bill.busy_s for bill in bills),
    )


def _sum(found: list[Usage]) -> Usage:
    """Counts added; memory, which is a level, at its highest; what one of them does not tell is not known."""
    summed: dict[str, Any] = {}
    for name in Usage.__dataclass_fields__:
        values = [getattr(usage, name) for usage in found]
        summed[name] = None if None in values else (max if name.endswith("_bytes") else sum)(values)
    return Usage(**summed)


def _work(stage: str, frame: pd.DataFrame) -> float:
    good = frame[frame["ok"].astype(bool)]
    match UNITS.get(stage):
        case "GB":
            return float(good["bytes"].sum()) / GIGABYTE
        case unit if unit is not None and stage == "probe":
            return float((good["sequence"] == 0).sum())
        case _:
            return float(len(good))


def _under_load(bills: Mapping[str, StageBill]) -> Iterator[Measured]:
    for stage, word in (("requests", "request"), ("transfer", "gigabyte")):
        bill = bills.get(stage)
        if bill is None:
            continue
        if bill.whole:
            yield _measured(f"cpu.path.{word}", _cpu_s(bill.components.values()) / bill.work, bill.work)
        if bill.proxies:
            yield _measured(f"cpu.{word}", _cpu_s(bill.proxies) / bill.work, bill.work)
            if stage == "requests":
                switches = sum(usage.switches for usage in bill.proxies) / bill.work
                yield _measured("switches.request", switches, bill.work)
    # at the stages' ends: the kernel's own peak is one since the process began, and holds earlier cells'
    held = [sum(usage.rss_bytes for usage in bill.proxies) for bill in bills.values() if bill.proxies]
    if held:
        yield _measured("memory.resident", float(max(held)), len(held))


def _first(cpu: Cpu, later: int, later_s: float, later_switches: float) -> Iterator[Measured]:
    """Per state: a probe's account, less the control operation and less its later requests."""
    control = cpu.first.get(CONTROL)
    if control is None or not control.probes:
        return
    for state in State:
        found = cpu.first.get(state.value)
        if found is None or not found.probes:
            continue
        cpu_s = (found.cpu_ns / found.probes - control.cpu_ns / control.probes) / 1e9 - later * later_s
        switches = found.switches / found.probes - control.switches / control.probes - later * later_switches
        # a difference of small numbers, which may come out below zero: to drop those would bias the rest
        yield _measured(f"cpu.first.{state.value}", cpu_s, found.probes)
        yield _measured(f"switches.first.{state.value}", switches, found.probes)


def _cpu_s(found: Iterable[Usage]) -> float:
    return sum(usage.cpu_ns for usage in found) / 1e9


def _measured(metric: str, value: float, n: float) -> Measured:
    return Measured(metric=metric, value=value, samples=np.empty(0), n=round(n))
