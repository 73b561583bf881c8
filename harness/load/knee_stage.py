"""Many windows on the same live connections, each at a rate that follows from how the ones before went."""

from __future__ import annotations

import math
from collections.abc import Iterator
from time import monotonic_ns
from typing import Any

from gevent.event import Event

from harness.load.arrivals import instants
from harness.load.clock import NS_PER_S
from harness.load.records import STEP_FIELDS
from harness.load.request_stage import LiveConnection, RequestStage
from harness.load.stage import Recorder
from harness.plan.model import Arrivals
from harness.plan.scenarios.knee import SAMPLES_PER_STEP, Step, next_rate

ACHIEVED_SHARE = 0.99
"""Of the rate; with less, a step was not at that rate."""
STEP_GRACE_S = 2.0
"""How long after a step's end its last answers are awaited."""
HEAD_START_NS = 2_000_000
"""Between the call and a step's first instant: every user is at its timer by then."""


class KneeStage(RequestStage):
    """Op `knee`; rows of all steps, each with its rate and whether the step held the limit."""

    fields = STEP_FIELDS
    grace_s = 30.0

    def __init__(self, request: dict[str, Any], recorder: Recorder) -> None:
        self._step_s = float(request["seconds"])
        self._limit_ns = float(request["p99_ms"]) * 1e6
        self._from_hz, self._to_hz = float(request["from_hz"]), float(request["to_hz"])
        self._steps = int(request["steps"])
        total_s = self._steps * max(self._step_s, SAMPLES_PER_STEP / self._from_hz)
        super().__init__({**request, "seconds": total_s, "rate_hz": self._to_hz}, recorder)
        self.tried: list[Step] = []
        self.told: list[dict[str, float | int | bool]] = []
        self.over = False
        self.step = Event()
        self._done = Event()
        self._busy = 0
        self._instants: list[int] = []

    def document(self) -> dict[str, Any]:
        """The steps as they were taken; nothing is scheduled as a whole."""
        return {"scheduled": 0, "late": 0, "unsent": 0, "steps": self.told}

    def due(self, user: int) -> list[int]:
        """A user's instants in the step that goes on."""
        return self._instants[user :: self.users]

    def wait(self) -> None:
        """Take step after step while users do what is due."""
        began_ns = self.started_ns
        while (rate_hz := self._next()) is not None:
            self._take(rate_hz)
        self.started_ns = began_ns
        self.over = True
        self.step.set()
        super().wait()

    def finished(self) -> None:
        """A user has done what was due in this step."""
        self._busy -= 1
        if not self._busy:
            self._done.set()

    def _next(self) -> float | None:
        return next_rate(self.tried, from_hz=self._from_hz, to_hz=self._to_hz, steps=self._steps)

    def _take(self, rate_hz: float) -> None:
        lasting_s = max(self._step_s, SAMPLES_PER_STEP / rate_hz)
        seed = f"{self.seed}/{len(self.tried)}"
        self._instants = instants(Arrivals.POISSON, rate_hz=rate_hz, seconds=lasting_s, seed=seed)
        first = self.recorder.rows
        self.more = (round(rate_hz * 1000), 0)
        self.rate_hz, self._busy, waiting = rate_hz, self.users, self.step
        self._done.clear()
        self.step = Event()
        self.started_ns = monotonic_ns() + HEAD_START_NS
        self.ended_ns = self.started_ns + int(lasting_s * NS_PER_S)
        waiting.set()
        ended = self._done.wait(lasting_s + STEP_GRACE_S)
        step = self._judge(rate_hz, first, ended=bool(ended))
        self.recorder.fill(self.fields.index("within"), first, step.within)
        self.tried.append(step)
        if not ended:  # an answer that never came: no further step would be like the ones before
            self._steps = len(self.tried)

    def _judge(self, rate_hz: float, first: int, *, ended: bool) -> Step:
        columns = {
            name: self.recorder.column(self.fields.index(name))[first:]
            for name in ("intended_ns", "first_byte_ns", "ok")
        }
        failed = columns["ok"].count(0)
        waits = sorted(
            byte_ns - due_ns
            for due_ns, byte_ns, ok in zip(
                columns["intended_ns"], columns["first_byte_ns"], columns["ok"], strict=True
            )
            if ok
        )
        p99_ns = waits[math.ceil(0.99 * len(waits)) - 1] if waits else 0
        achieved = len(waits) / len(self._instants) if self._instants else 0.0
        within = ended and not failed and achieved >= ACHIEVED_SHARE and p99_ns < self._limit_ns
        self.told.append(
            {
                "rate_hz": rate_hz,
                "scheduled": len(self._instants),
                "answered": len(waits),
                "p99_ns": p99_ns,
                "within": within,
            }
        )
        return Step(rate_hz=rate_hz, within=within)


class KneeConnection(LiveConnection):
    """A live connection that takes part in every step."""

    def __init__(self, stage: KneeStage) -> None:
        super().__init__(stage)
        self._knee = stage
        self._awaited = stage.step  # each step leaves the next one's event before it begins

    def steps(self) -> Iterator[None]:
        """Each step's beginning."""
        while True:
            self._socket.unwatch()
            self._awaited.wait()
            self._awaited = self._knee.step
            self._socket.watch()
            if self._knee.over:
                return
            yield
            self._knee.finished()
