"""What can go wrong on an HBONE connection, and whose fault it is.

HboneError
├── LocalProtocolError      we asked for something that the state does not allow: a bug of ours
├── RemoteProtocolError     the peer broke the protocol; the connection is over
│   └── Flood               ... by doing something legal far too often
├── MalformedHead           a head breaks the rules of headers; its stream alone is over
└── BadAuthority            a CONNECT's `:authority` is not `host:port`; that request alone is over
"""

from __future__ import annotations

from h2.errors import ErrorCodes


class HboneError(Exception):
    """Base of all; never raised itself."""


class LocalProtocolError(HboneError):
    """We misused the connection."""


class RemoteProtocolError(HboneError):
    """The peer broke the protocol. Our GOAWAY is already in the output; send it and close."""

    kind = "protocol"
    """What it is counted as."""

    def __init__(self, message: str, code: ErrorCodes = ErrorCodes.PROTOCOL_ERROR) -> None:
        super().__init__(message)
        self.code = code


class Flood(RemoteProtocolError):
    """A budget is used up."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"flood of {kind}", ErrorCodes.ENHANCE_YOUR_CALM)
        self.kind = kind


class MalformedHead(HboneError):
    """A head that RFC 9113 8.1.1 calls malformed."""


class BadAuthority(HboneError):
    """Not an authority that we dial."""


def code_name(code: int) -> str:
    """An error code's name in RFC 9113 section 7; a peer may send any number."""
    try:
        return ErrorCodes(code).name
    except ValueError:
        return str(code)
