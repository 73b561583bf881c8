"""The engine for plaintext, as the settings say."""

from __future__ import annotations

import asyncio
import logging
import socket

from proxy.config import Relay
from proxy.relay.copy import CopyRelay
from proxy.relay.splice import SpliceRelay

log = logging.getLogger("proxy.relay")

PlainRelay = CopyRelay | SpliceRelay


def plain_relay(engine: Relay, near: socket.socket, far: socket.socket) -> PlainRelay:
    """A relay between two connected sockets. Without descriptors left for pipes, one that needs none."""
    loop = asyncio.get_running_loop()
    if engine is Relay.SPLICE:
        try:
            return SpliceRelay(loop, near, far)
        except OSError as exc:
            log.warning("no pipes for splice, copying instead error=%s", exc.strerror)
    return CopyRelay(loop, near, far)
