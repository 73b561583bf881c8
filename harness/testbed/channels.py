"""Control channels to members, each opened when it is first used, and asking several at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from harness.control import Channel, ControlError, Reply, Unreachable

ANSWER_TIMEOUT_S = 10.0
"""For a member to open its control socket; the slowest (Locust's imports) takes 1.5 s on an idle core."""
LOOK_S = 0.5
"""Between looks at members that have ended while one is awaited."""

Name = TypeVar("Name")
Request = tuple[Channel, str, Mapping[str, Any]]
"""Whom to ask which operation with which arguments."""


class Channels:
    """Those of one testbed, by the path of the socket."""

    def __init__(self, ended: Callable[[], Mapping[str, int]]) -> None:
        """Take what says which members have ended: nobody waits any longer for one of them."""
        self._ended = ended
        self._open: dict[Path, Channel] = {}

    def to(self, path: Path) -> Channel:
        """The channel to whoever listens at `path`, awaited for a while.

        Raises:
            Unreachable: Nobody listens there in time, or a member has ended meanwhile.
        """
        if path not in self._open:
            self._open[path] = self._connected(path)
        return self._open[path]

    def forget(self, path: Path) -> None:
        """Close the channel to a member that is gone; another one will listen there."""
        channel = self._open.pop(path, None)
        if channel is not None:
            channel.close()

    def close(self) -> None:
        """Close all."""
        for channel in self._open.values():
            channel.close()
        self._open.clear()

    def _connected(self, path: Path) -> Channel:
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while True:
            try:
                return Channel(path, connect_timeout_s=LOOK_S)
            except Unreachable:
                if time.monotonic() > deadline or self._ended():
                    raise


def ask(channels: Mapping[Name, Channel], op: str, /, **arguments: object) -> dict[Name, Reply]:
    """Ask all of them the same at the same time; name -> answer.

    Raises:
        ControlError: One refused or is gone; all have been heard.
    """
    return dict(
        zip(channels, in_turn([(channel, op, arguments) for channel in channels.values()]), strict=True)
    )


def in_turn(requests: Sequence[Request]) -> list[Reply]:
    """Send all requests, then collect the answers, in their order; one channel may be asked several times.

    Raises:
        ControlError: One was refused; all have been heard, or a channel's next question would get this
            one's answer.
    """
    for channel, op, arguments in requests:
        channel.send(op, **arguments)
    replies: list[Reply] = []
    errors: list[ControlError] = []
    for channel, _, _ in requests:
        try:
            replies.append(channel.receive())
        except ControlError as exc:
            errors.append(exc)
    if errors:
        raise errors[0]
    return replies
