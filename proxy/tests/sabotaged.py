"""The proxy with something spoilt in it: `python3 -m proxy.tests.sabotaged tickets|flip|cleartext`,
or `delay SECONDS`.

For `ambientbench selftest`, whose checks have to find it. The settings are the proxy's own.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import Callable
from itertools import count
from time import perf_counter
from typing import Any

from proxy.listeners import outbound
from proxy.main import run

DATA = 0
"""Frame type of DATA (RFC 9113 section 6.1), the fourth byte of a frame."""
FRAME_HEAD_BYTES = 9
EVERY = 10


def tickets() -> None:
    """Servers send tickets; clients offer the session of the connection before to the same server."""
    wrap = ssl.SSLContext.wrap_bio
    before: dict[tuple[int, str | None], ssl.SSLObject] = {}

    def wrap_bio(self: ssl.SSLContext, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        if kwargs.get("server_side"):
            return wrap(self, *args, **kwargs)
        key = (id(self), kwargs.get("server_hostname"))
        session = before[key].session if key in before else None
        before[key] = wrap(self, *args, **{**kwargs, "session": session})
        return before[key]

    # The proxy sets it to 0; what OpenSSL does by itself is 2.
    ssl.SSLContext.num_tickets = property(lambda _: 2, lambda _, __: None)  # type: ignore[assignment]
    ssl.SSLContext.wrap_bio = wrap_bio  # type: ignore[method-assign]


def flip() -> None:
    """Every tenth write of DATA has its last byte inverted before it is encrypted."""
    write = ssl.SSLObject.write
    written = count(1)

    def spoilt(self: ssl.SSLObject, data: Any) -> int:
        plain = bytes(data)
        if len(plain) > FRAME_HEAD_BYTES and plain[3] == DATA and next(written) % EVERY == 0:
            plain = plain[:-1] + bytes([plain[-1] ^ 0xFF])
        return write(self, plain)

    ssl.SSLObject.write = spoilt  # type: ignore[method-assign]


def cleartext() -> None:
    """TLS 1.2 with NULL for a cipher: handshakes, certificates and MACs are in order, and all can be read."""
    load = ssl.SSLContext.load_cert_chain

    def weakened(self: ssl.SSLContext, *args: Any, **kwargs: Any) -> None:
        self.minimum_version = self.maximum_version = ssl.TLSVersion.TLSv1_2
        self.set_ciphers("ECDHE-ECDSA-NULL-SHA:@SECLEVEL=0")
        load(self, *args, **kwargs)

    ssl.SSLContext.load_cert_chain = weakened  # type: ignore[method-assign, assignment]


def delay() -> None:
    """Each new connection waits before its way is looked up, computing: no other work is done meanwhile."""
    seconds = float(sys.argv.pop(2))
    names = vars(outbound)
    look_up = names["route"]

    def late(*args: Any, **kwargs: Any) -> Any:
        until = perf_counter() + seconds
        while perf_counter() < until:
            pass
        return look_up(*args, **kwargs)

    names["route"] = late


SPOIL: dict[str, Callable[[], None]] = {
    "tickets": tickets,
    "flip": flip,
    "cleartext": cleartext,
    "delay": delay,
}

if __name__ == "__main__":
    SPOIL[sys.argv[1]]()
    sys.exit(run(sys.argv[2:]))
