"""Errors that end a command: who is wrong decides the exit code.

    AmbientbenchError
    ├── UsageError          2    the command line, a suite or a run folder says something impossible
    ├── EnvironmentUnfit    3    this machine lacks something; nothing was created
    └── RunFailed           1    something that should have worked did not
        └── Leftovers       1    tear-down could not remove everything; the message names what and how

Every message says what was attempted, where, what was found and what to do next. Packages derive
their own errors from these; a foreign exception is mapped once, where it enters.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the shell sees. Listed in `ambientbench --help`."""

    OK = 0
    RUN_FAILED = 1
    USAGE = 2
    UNFIT = 3
    THRESHOLD = 4
    """A threshold of the suite was missed."""
    REGRESSION = 5
    """Under a gate: something became worse."""
    INVALID = 6
    """A cell is invalid, or (with a gate) the answer is inconclusive."""
    HANGUP = 129
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    TERMINATED = 143


class AmbientbenchError(Exception):
    """Root of all errors that a user may meet; never raised itself."""

    exit_code = ExitCode.RUN_FAILED

    @property
    def kind(self) -> str:
        """The error's name in JSON output: `usage-error`."""
        name = type(self).__name__
        return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("-")


class UsageError(AmbientbenchError):
    """The command line, a suite or a run folder says something impossible."""

    exit_code = ExitCode.USAGE


class EnvironmentUnfit(AmbientbenchError):
    """This machine lacks something that the command needs; nothing was created."""

    exit_code = ExitCode.UNFIT


class RunFailed(AmbientbenchError):
    """Something that should have worked did not."""


class Leftovers(RunFailed):
    """Tear-down could not remove everything; the message names what is left and how to remove it."""
