"""The process of a member that only holds a network namespace: it waits to be told to stop."""

from __future__ import annotations

import signal


def main() -> None:
    """Wait for SIGTERM or SIGINT, then end with exit code 0."""
    # As process 1 of a container there is no default action: the signals have to be taken by hand.
    wanted = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    signal.sigwait(wanted)


if __name__ == "__main__":
    main()
