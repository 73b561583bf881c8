"""A standing testbed for tests, and how they do things in it."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.plan.model import Interception
from harness.suite import load_suite
from harness.testbed.checks import preflight
from harness.testbed.lane import Lane
from harness.testbed.placement import Placement
from harness.testbed.testbed import Testbed
from harness.topology.allocator import resolve
from harness.topology.model import APP_PORT, IpFamily

APP = (Path(__file__).parent / "app.py").read_text()
SETTLE_S = 3.0


EVERY_POD_ANSWERS = "topology.pods.denied.backend=true"
"""In a run nobody asks that pod; here it is asked."""
REDIRECT = Placement(dataplane="pyztunnel", interception=Interception.REDIRECT)


def standard_bed(engine: str, *placements: Placement) -> Testbed:
    """The smoke suite's testbed, not up yet; one lane with our proxy unless told otherwise."""
    return bed_of("smoke", engine, *placements)


def bed_of(suite: str, engine: str, *placements: Placement) -> Testbed:
    """A suite's testbed, not up yet."""
    lanes = placements or (REDIRECT,)
    return Testbed(
        choice=preflight(engine),
        topology=resolve(load_suite(suite, [EVERY_POD_ANSWERS]).topology, len(lanes)),
        placements=lanes,
        suite="test",
    )


@dataclass(frozen=True, slots=True)
class Pods:
    """Apps in the pods of one lane of a testbed."""

    bed: Testbed
    number: int = 1
    """The lane's."""

    @property
    def lane(self) -> Lane:
        """The handle on it."""
        return self.bed.lane(self.number)

    def do(self, pod: str, what: str, **wish: object) -> dict[str, Any]:
        """What an app in `pod` saw when it did one exchange."""
        member = self.lane.topology.member(pod)
        done = self.bed.engine.execute(
            member.netns, ["python3", "-c", APP, json.dumps({"what": what, **wish})]
        )
        assert done.returncode == 0, done.stderr.decode()
        seen: dict[str, Any] = json.loads(done.stdout)
        return seen

    def get(self, source: str, target: str, family: IpFamily = IpFamily.IPV4) -> dict[str, Any]:
        """One HTTP request from a pod to another's backend, with a nonce of its own."""
        nonce = secrets.token_hex(8)
        seen = self.do(source, "http", address=self.address(target, family), port=APP_PORT, nonce=nonce)
        if "words" in seen:
            assert seen["words"].get("nonce") == nonce
        return seen

    def address(self, name: str, family: IpFamily = IpFamily.IPV4) -> str:
        """A member's address."""
        return str(self.lane.topology.member(name).address_of(family))

    def stats(self, node: str) -> dict[str, Any]:
        """The counters of a node's proxy."""
        return self.lane.proxy(node).call("stats").document

    def grown(self, node: str, counter: str, before: dict[str, Any]) -> int:
        """By how much a proxy's counter has grown since `before`, once it has or after `SETTLE_S`."""
        deadline = time.monotonic() + SETTLE_S
        while True:
            growth = int(self.stats(node)[counter]) - int(before[counter])
            if growth or time.monotonic() > deadline:
                return growth
            time.sleep(0.01)  # the proxy closes its books a moment after the app has seen the end
