"""What processes use, as metrics: beside every scenario, whatever the load was."""

from __future__ import annotations

from functools import partial

from harness.plan.model import State
from harness.plan.scenarios import How, Metric

_cost = partial(Metric, stage="", how=How.USAGE)
"""No stage: a slow generator does not change what one request costs."""

FIRST = tuple(state.value for state in State if state is not State.STEADY)
METRICS = (
    *(
        _cost(name=f"cpu.first.{state}", title=f"proxies' CPU, first packet, {state}", unit="CPU s")
        for state in FIRST
    ),
    _cost(name="cpu.later", title="proxies' CPU, later packets", unit="CPU s"),
    _cost(name="cpu.request", title="proxies' CPU per request, under load", unit="CPU s"),
    _cost(name="cpu.gigabyte", title="proxies' CPU per gigabyte", unit="CPU s/GB"),
    _cost(name="cpu.path.request", title="CPU of all per request, under load", unit="CPU s"),
    _cost(name="cpu.path.gigabyte", title="CPU of all per gigabyte", unit="CPU s/GB"),
    *(
        _cost(
            name=f"switches.first.{state}",
            title=f"proxies' context switches, first packet, {state}",
            unit="switches",
        )
        for state in FIRST
    ),
    _cost(name="switches.later", title="proxies' context switches, later packets", unit="switches"),
    _cost(
        name="switches.request", title="proxies' context switches per request, under load", unit="switches"
    ),
    _cost(name="memory.resident", title="proxies' memory", unit="bytes"),
)
