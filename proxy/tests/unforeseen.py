"""A proxy process whose background work raises what nobody foresaw, whenever the test asks for it.

`unforeseen(folder)` gives the settings with which a process loads this module before all else. A test then
asks by the process's id: `working` lists what its supervisor runs, `spoil` makes one of them raise.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from proxy.tasks import Supervisor
from proxy.tests.sockets import PATIENCE_S

ROOT = Path(__file__).parents[2]
SITE = """
import os, sys
sys.path.insert(0, {root!r})
os.environ.update({pages!r}.get(os.environ["NODE_NAME"], {{}}))
from proxy.tests.unforeseen import install
install({folder!r})
"""


class UnforeseenError(Exception):
    """What nobody catches."""


def unforeseen(folder: Path, pages: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Settings for processes that tests start: those read `sitecustomize` before all else.

    Args:
        folder: The test's own.
        pages: By node, settings that two processes of one network cannot share: their ports.
    """
    site = folder / "site"
    site.mkdir()
    script = SITE.format(root=str(ROOT), folder=str(folder), pages=dict(pages))
    (site / "sitecustomize.py").write_text(script)
    return {"PYTHONPATH": str(site)}


async def working(folder: Path, pid: int) -> list[str]:
    """What the process's supervisor runs now."""
    return (await _ask(folder, pid, "")).splitlines()


async def spoil(folder: Path, pid: int, name: str) -> None:
    """Make that work raise."""
    await _ask(folder, pid, name)


async def _ask(folder: Path, pid: int, victim: str) -> str:
    asked, answered = folder / f"{pid}.victim", folder / f"{pid}.working"
    answered.unlink(missing_ok=True)
    asked.write_text(victim)
    os.kill(pid, signal.SIGUSR1)
    async with asyncio.timeout(PATIENCE_S):
        while not answered.exists():  # noqa: ASYNC110  another process writes it
            await asyncio.sleep(0.01)
    return answered.read_text()


def install(folder: str) -> None:
    """Inside the process: let its supervisor's work be spoilt."""
    asked, answered = (Path(folder) / f"{os.getpid()}.{name}" for name in ("victim", "working"))
    doomed: dict[str, asyncio.Event] = {}
    begin, start = Supervisor.__init__, Supervisor.start

    def init(self: Supervisor, *given: object, **named: object) -> None:
        def asked_for() -> None:
            if victim := asked.read_text():
                doomed[victim].set()
            new = answered.with_suffix(".new")
            new.write_text("\n".join(self.running))
            new.replace(answered)

        begin(self, *given, **named)  # type: ignore[arg-type]  # passed on
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, asked_for)

    def spoilt_start(
        self: Supervisor, work: Callable[[], Awaitable[None]], *, name: str
    ) -> asyncio.Task[None]:
        async def spoilt() -> None:
            doom = doomed[name] = asyncio.Event()
            doing, waiting = asyncio.ensure_future(work()), asyncio.ensure_future(doom.wait())
            try:
                await asyncio.wait([doing, waiting], return_when=asyncio.FIRST_COMPLETED)
                if doom.is_set():
                    raise UnforeseenError(name)
                await doing
            finally:
                for each in (doing, waiting):
                    each.cancel()
                await asyncio.wait([doing, waiting])

        return start(self, spoilt, name=name)

    Supervisor.__init__ = init  # type: ignore[method-assign]
    Supervisor.start = spoilt_start  # type: ignore[method-assign]
