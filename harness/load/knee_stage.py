"""Many windows on the same live connections, each at a rate that follows from how the ones before went."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import monotonic_ns
from typing import Any

from harness.load.arrivals import instants
from harness.load.clock import NS_PER_S, quantile_99
from harness.load.lane import Lane, Turn
from harness.load.order import cycles
from harness.load.records import STEP_FIELDS
from harness.load.request_stage import RequestLoad, RequestStage
from harness.load.stage import Recorder
from harness.plan.model import Arrivals
from harness.plan.scenarios.knee import SAMPLES_PER_STEP, Step, next_rate

ACHIEVED_SHARE = 0.99
"""Of the rate; with less, a step was not at that rate."""
STEP_GRACE_S = 2.0
"""How long after a step's end its last answers are awaited."""
HEAD_START_NS = 2_000_000
"""Between the call and a step's first instant: every user is at its timer by then."""


class KneeLoad(RequestLoad):
    """One lane's search."""

    def __init__(self, lane: Lane, users: int) -> None:
        super().__init__(lane, users)
        self.tried: list[Step] = []
        self.told: list[dict[str, float | int | bool]] = []
        self.stuck = False
        """Whether an answer never came: no further step would be like the ones before."""

    def begin_step(self) -> None:
        """Count the lane's time anew: each step has instants of its own."""
        self._spent_ns, self.patience_ns = 0, 0

    def document(self) -> dict[str, Any]:
        """The steps as they were taken; nothing is scheduled as a whole."""
        books = {"scheduled": 0, "late": 0, "unsent": 0, "steps": self.told}
        return {**super().document(), **books}


class KneeStage(RequestStage[KneeLoad]):
    """Op `knee`; rows of all steps, each with its rate and whether the step held the limit.

    Lanes take their steps by turns, each at the rate that its own search has come to.
    """

    fields = STEP_FIELDS
    load = KneeLoad
    grace_s = STEP_GRACE_S

    def __init__(self, request: dict[str, Any], recorder: Recorder) -> None:
        self._step_s = float(request["seconds"])
        self._limit_ns = float(request["p99_ms"]) * 1e6
        self._from_hz, self._to_hz = float(request["from_hz"]), float(request["to_hz"])
        self._steps = int(request["steps"])
        total_s = self._steps * max(self._step_s, SAMPLES_PER_STEP / self._from_hz)
        super().__init__({**request, "seconds": total_s, "rate_hz": self._to_hz}, recorder)

    def turns(self) -> Iterator[tuple[int, ...]]:
        """One step of each lane that still searches, again and again."""
        for cycle in cycles(list(self.lanes), self.seed, self._steps):
            for number in cycle:
                if self._next(self.lanes[number]) is not None:
                    yield (number,)

    def turn(self, numbers: Sequence[int], started_ns: int = 0) -> list[Turn]:
        """A lane's next step."""
        (number,) = numbers
        load = self.lanes[number]
        rate_hz = self._next(load)
        assert rate_hz is not None  # noqa: S101 - `turns` names no lane whose search has ended
        lasting_s = max(self._step_s, SAMPLES_PER_STEP / rate_hz)
        seed = f"{self.seed}/{number}/{len(load.tried)}"
        load.instants = instants(Arrivals.POISSON, rate_hz=rate_hz, seconds=lasting_s, seed=seed)
        load.begin_step()
        load.more = (round(rate_hz * 1000), 0)
        self.block_ns = int(lasting_s * NS_PER_S)
        first = self.recorder.rows
        turns = super().turn(numbers, started_ns or monotonic_ns() + HEAD_START_NS)
        step = self._judge(load, rate_hz, first, ended=turns[0].drained)
        self.recorder.fill("within", first, step.within)
        load.tried.append(step)
        load.stuck = not turns[0].drained
        return turns

    def _next(self, load: KneeLoad) -> float | None:
        if load.stuck:
            return None
        return next_rate(load.tried, from_hz=self._from_hz, to_hz=self._to_hz, steps=self._steps)

    def _judge(self, load: KneeLoad, rate_hz: float, first: int, *, ended: bool) -> Step:
        names = ("intended_ns", "first_byte_ns", "ok")
        columns = {name: self.recorder.column(name, first) for name in names}
        failed = columns["ok"].count(0)
        waits = [
            byte_ns - due_ns
            for due_ns, byte_ns, ok in zip(
                columns["intended_ns"], columns["first_byte_ns"], columns["ok"], strict=True
            )
            if ok
        ]
        p99_ns = quantile_99(waits) or 0
        achieved = len(waits) / len(load.due) if load.due else 0.0
        within = ended and not failed and achieved >= ACHIEVED_SHARE and p99_ns < self._limit_ns
        load.told.append(
            {
                "rate_hz": rate_hz,
                "scheduled": len(load.due),
                "answered": len(waits),
                "p99_ns": p99_ns,
                "within": within,
            }
        )
        return Step(rate_hz=rate_hz, within=within)
