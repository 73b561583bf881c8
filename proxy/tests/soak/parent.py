"""The soak's other processes end with it, however it ends: they hold a pipe of its, which closes then."""

from __future__ import annotations

import asyncio
import os
import sys

ORPHANED = 3
"""Exit code."""


def live_and_die_with_parent() -> None:
    """End this process, whatever it does, once its standard input ends. Needs the running loop."""
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _read)


def _read() -> None:
    if not os.read(sys.stdin.fileno(), 1):
        os._exit(ORPHANED)
