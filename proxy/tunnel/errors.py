"""Why a tunnel or a stream could not be had, or was lost.

TunnelError
├── TlsFailed          the handshake failed, or took too long
├── TunnelLost         the connection ended or broke the protocol; every stream on it is lost
├── StreamLost         this stream was reset before it was answered
└── ConnectRefused     the peer answered CONNECT with another status than 200
"""

from __future__ import annotations


class TunnelError(Exception):
    """Base of all."""


class TlsFailed(TunnelError):
    """No TLS connection came about."""


class TunnelLost(TunnelError):
    """The tunnel is over."""


class StreamLost(TunnelError):
    """The stream is over, the tunnel may not be."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class ConnectRefused(TunnelError):
    """The other side would not, or could not, connect."""

    def __init__(self, status: int) -> None:
        super().__init__(f"CONNECT was answered with {status}")
        self.status = status
