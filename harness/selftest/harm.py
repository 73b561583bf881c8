"""What a sabotage can do to a cell: before, during and after each stage of its load.

The bench calls; a sabotage overrides what it needs. Whatever has to happen inside a pod is done by the
node's agent, which may enter it; no part of the product has a switch for any of this.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from harness.control import Reply
from harness.errors import RunFailed
from harness.run.asks import Ask
from harness.testbed.testbed import Testbed
from harness.topology.model import Pod

CLIENT = "client"
SERVER = "server-remote"
"""Pods of the smoke suite's path `cross-node`, which every sabotage is done to."""
NEIGHBOUR = "server-local"
"""A captured pod on the client's node."""
DENIED = "denied"
"""The pod that its policies refuse at the servers."""

WITHOUT_RULES = """
import sys
from harness.agent import netns
from harness.agent.capture import load
from harness.agent.rules.model import RuleSet, Table
path, applier, table = sys.argv[1:]
netns.enter(path)
load(applier).apply(RuleSet(tables=(Table(name=table),)))
"""
"""Takes our rules out of one table of the namespace at a path, by the applier of that name."""

TAKEN_S = 5.0
"""How long proxies may take to see another mesh document; they look four times a second."""
LOOK_S = 0.02


class HarmFailed(RunFailed):
    """A sabotage could not be done, so nothing can be said of the check behind it."""


class Harm:
    """Does nothing: what an honest cell meets."""

    def __init__(self, bed: Testbed, lane: int = 1) -> None:
        self.bed = bed
        self.lane = bed.lane(lane)
        """The lane of the cell."""

    def asked(self, ask: Ask) -> Ask:
        """What the load is asked instead, of a stage or a proof; the books say what the plan wanted."""
        return ask

    def placing(self) -> AbstractContextManager[None]:
        """Surrounds the lanes' placing."""
        return nullcontext()

    def proving(self) -> AbstractContextManager[None]:
        """Surrounds what is proved once a round; no counter of the cell has been read yet."""
        return nullcontext()

    def during(self, ask: Ask) -> AbstractContextManager[None]:
        """Surrounds one stage. The cell's first counters have been read before the first one."""
        del ask
        return nullcontext()

    def replied(self, ask: Ask, reply: Reply) -> Reply:
        """What is saved instead of the load's reply."""
        del ask
        return reply

    # What harm is made of

    def pod(self, name: str) -> Pod:
        """A pod of the lane."""
        member = self.lane.topology.member(name)
        if not isinstance(member, Pod):
            raise TypeError(f"{name} is no pod")
        return member

    def inside(self, pod: str, command: Sequence[str]) -> None:
        """Run a command in a pod's network namespace with the rights of its node's agent.

        Raises:
            HarmFailed: It ended with an error.
        """
        enter = ["nsenter", f"--net={self._path(pod)}", "--"]
        self._beside_agent(pod, [*enter, *command], command[0])

    def without_rules(self, pod: str, table: str) -> None:
        """Take the rules of one table out of a pod, by the applier that its node's agent writes them with.

        Raises:
            HarmFailed: It could not be done.
        """
        applier = self.bed.agent(self.pod(pod).node).call("hello").document["applier"]
        command = ["python3", "-c", WITHOUT_RULES, self._path(pod), applier, table]
        self._beside_agent(pod, command, f"emptying table {table} by {applier}")

    def _path(self, pod: str) -> str:
        return self.bed.engine.namespace_path(self.pod(pod).netns)

    def _beside_agent(self, pod: str, command: Sequence[str], attempt: str) -> None:
        done = self.bed.engine.execute(f"agent-{self.pod(pod).node}", command)
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip()
            raise HarmFailed(f"sabotage in pod {pod}: {attempt} ended with {done.returncode}: {said}")

    def write_rules_again(self) -> None:
        """Make the lane's rules whole again."""
        placement = self.lane.placement
        self.lane.capture(placement.interception, placement.filler_rules)

    @contextmanager
    def other_mesh(self, document: Mapping[str, Any], attempt: Mapping[str, Any]) -> Iterator[None]:
        """While the block runs the proxies have another mesh document.

        Args:
            document: The document.
            attempt: What the agent's `attempt` is asked (pod, address, port) whose answer depends on it.

        Raises:
            HarmFailed: The proxies did not take it, or the one before again.
        """
        usual = self._answered(attempt)
        kept = self.lane.mesh.read_text()
        self._put_in_force(json.dumps(document), lambda: self._answered(attempt) != usual)
        try:
            yield
        finally:
            self._put_in_force(kept, lambda: self._answered(attempt) == usual)

    def _put_in_force(self, text: str, taken: Callable[[], bool]) -> None:
        path = self.lane.mesh
        beside_it = path.with_suffix(".new")
        beside_it.write_text(text)
        beside_it.replace(path)
        deadline = time.monotonic() + TAKEN_S
        while not taken():
            if time.monotonic() > deadline:
                raise HarmFailed(f"sabotage: the proxies did not take another {path} within {TAKEN_S:g} s")
            time.sleep(LOOK_S)

    def _answered(self, attempt: Mapping[str, Any]) -> bool:
        agent = self.bed.agent(self.pod(attempt["pod"]).node)
        asked = {"lane": self.lane.number, "nonce": secrets.token_hex(12), **attempt}
        return bool(agent.call("attempt", **asked).document["answer_bytes"])


@contextmanager
def beside(work: Callable[[], None], *, after_s: float = 0.0) -> Iterator[None]:
    """Do `work` in a thread while the block runs, `after_s` seconds into it; what it raises is raised."""

    def later() -> None:
        time.sleep(after_s)
        work()

    with ThreadPoolExecutor(1, thread_name_prefix="harm") as pool:
        done = pool.submit(later)
        yield
        done.result()
