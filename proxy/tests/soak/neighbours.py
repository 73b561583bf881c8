"""Whether connections live beside ordinary traffic that looks like an attack, one kind after another."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from proxy.telemetry import access
from proxy.tests.explicit.reach import Reach, reach, server_address
from proxy.tests.soak import descriptors
from proxy.tests.soak.app import app
from proxy.tests.soak.suspects import KINDS, NEIGHBOURS, SUSPECTS, Task
from proxy.tests.sockets import free_port

TOGETHER = "together"
"""All kinds at once, last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What became of the neighbours beside one kind."""

    kind: str
    seconds: float
    done: Counter[str]
    """Suspects by kind."""
    failures: list[str]
    """Suspects that got something else than they were to get."""
    lost: list[str]
    """Neighbours that did not live, and why."""
    echoes: int
    worst_ms: float

    def __str__(self) -> str:
        count = sum(self.done.values())
        return (
            f"beside {self.kind:16} {count:6} connections, {count / self.seconds:5.0f}/s: "
            f"{NEIGHBOURS - len(self.lost)} of {NEIGHBOURS} neighbours live, "
            f"{self.echoes} echoes, slowest {self.worst_ms:.0f} ms"
        )

    def problems(self) -> list[str]:
        """What must not be; nothing when all is well."""
        found = [f"beside {self.kind}: a neighbour was lost: {why}" for why in self.lost]
        found += [f"beside {self.kind}: {failure}" for failure in self.failures[:5]]
        if not self.done:
            found.append(f"beside {self.kind}: not one connection was made")
        if not self.echoes:
            found.append(f"beside {self.kind}: no neighbour had an echo")
        return found


async def neighbours(seconds: float, *, seed: int, kinds: Sequence[str] = (*KINDS, TOGETHER)) -> list[Beside]:
    """Two proxies in this process, the clients and the app in others; `seconds` for all kinds."""
    descriptors.allow(2 * SUSPECTS * len(KINDS))
    access.log.setLevel(logging.CRITICAL)  # refusals and resets are errors there
    address, closed, denied = server_address(), free_port(), free_port()
    policy = {
        "name": "closed-door",
        "namespace": "ns",
        "scope": "Namespace",
        "action": "Deny",
        "rules": [[[{"destinationPorts": [denied]}]]],
    }
    share_s = seconds / len(kinds)
    told = []
    async with reach(
        timeout_s=seconds + 60 * len(kinds) + 600, app=app, policies=[policy], socks_connections=2000
    ) as r:
        for kind in kinds:
            task = Task(
                kinds=list(KINDS) if kind == TOGETHER else [kind],
                seconds=share_s,
                socks_port=r.socks_port,
                address=address,
                closed_port=closed,
                denied_port=denied,
                seed=seed,
            )
            told.append(await _beside(r, kind, task))
    return told


async def _beside(r: Reach, kind: str, task: Task) -> Beside:
    """Run the clients in a process of their own, so that only the proxies are in ours."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "proxy.tests.soak.suspects", json.dumps(asdict(task))),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    said = await process.stdout.read()
    if code := await process.wait():
        raise RuntimeError(f"soak suspects ended with {code}")
    for side in (r.client, r.server):
        side.telemetry.completed.clear()  # kept for tests that look at them
    answer = json.loads(said)
    return Beside(kind=kind, seconds=task.seconds, **{**answer, "done": Counter(answer["done"])})
