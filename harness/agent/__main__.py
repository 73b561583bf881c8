"""`python3 -m harness.agent --node N --rundir DIR`: serves until SIGTERM or SIGINT, then exits 0."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from functools import partial
from pathlib import Path
from types import FrameType

from harness.agent.agent import Agent
from harness.agent.sockets import SocketServer
from harness.agent.workers import Workers
from harness.control import serve
from harness.topology.layout import Layout


def main() -> int:
    """Run the agent."""
    parser = argparse.ArgumentParser(prog="python3 -m harness.agent", description=__doc__)
    parser.add_argument("--node", required=True, help="name of the node that this agent serves")
    parser.add_argument("--rundir", required=True, type=Path, help="folder of the run")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    layout = Layout(options.rundir)
    control = layout.agent(options.node)
    # forked while there is one thread and not yet a socket
    with Workers() as workers:
        signal.signal(signal.SIGTERM, _end)
        signal.signal(signal.SIGINT, _end)
        with (
            Agent(options.node, workers=workers, zds=partial(layout.zds, options.node)) as agent,
            SocketServer(layout.sockets(options.node), agent.sockets),
        ):
            try:
                serve(control, agent.handlers())
            finally:
                control.unlink(missing_ok=True)
    return 0


def _end(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's signature
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
