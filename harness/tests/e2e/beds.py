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
from harness.testbed.testbed import Testbed
from harness.topology.allocator import resolve
from harness.topology.model import APP_PORT, IpFamily, Pod

APP = (Path(__file__).parent / "app.py").read_text()
SETTLE_S = 3.0


def standard_bed(engine: str, dataplane: str = "pyztunnel") -> Testbed:
    """The smoke suite's testbed, not up yet."""
    return bed_of("smoke", engine, dataplane)


def bed_of(suite: str, engine: str, dataplane: str = "pyztunnel") -> Testbed:
    """A suite's testbed, not up yet."""
    return Testbed(
        choice=preflight(engine),
        topology=resolve(load_suite(suite, []).topology),
        dataplane=dataplane,
        interception=Interception.REDIRECT,
        suite="test",
    )


@dataclass(frozen=True, slots=True)
class Pods:
    """Apps in the pods of a testbed."""

    bed: Testbed

    def do(self, pod: str, what: str, **wish: object) -> dict[str, Any]:
        """What an app in `pod` saw when it did one exchange."""
        member = self.bed.topology.member(pod)
        name = f"probe-{pod}" if isinstance(member, Pod) and member.client else member.netns
        done = self.bed.engine.execute(name, ["python3", "-c", APP, json.dumps({"what": what, **wish})])
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
        return str(self.bed.topology.member(name).address_of(family))

    def stats(self, node: str) -> dict[str, Any]:
        """The counters of a node's proxy."""
        return self.bed.proxy(node).call("stats").document

    def grown(self, node: str, counter: str, before: dict[str, Any]) -> int:
        """By how much a proxy's counter has grown since `before`, once it has or after `SETTLE_S`."""
        deadline = time.monotonic() + SETTLE_S
        while True:
            growth = int(self.stats(node)[counter]) - int(before[counter])
            if growth or time.monotonic() > deadline:
                return growth
            time.sleep(0.01)  # the proxy closes its books a moment after the app has seen the end
