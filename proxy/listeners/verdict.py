"""An error as the connection's record tells it. The one place that knows which flag is whose."""

from __future__ import annotations

from proxy.hbone.headers import BadRequest
from proxy.identity.identities import IdentityUnavailable
from proxy.identity.peer import IdentityMismatch
from proxy.listeners.dial import Unreachable
from proxy.rbac import Decision
from proxy.relay.outcome import End
from proxy.relay.outcome import Outcome as RelayOutcome
from proxy.routing import HBONE_PORT
from proxy.state.store import NotReady
from proxy.telemetry import ConnectionRecord, Flag, Outcome
from proxy.tunnel.errors import ConnectRefused, StreamLost, TlsFailed, TunnelError, TunnelLost


class Refused(Exception):
    """We will not carry a connection. `status` is what a CONNECT is answered with."""

    def __init__(self, message: str, *, status: int = 503) -> None:
        super().__init__(message)
        self.status = status


class Denied(Exception):
    """A policy, or the absence of one that allows, forbids the connection."""

    status = 401

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.reason)
        self.decision = decision


class AppLeft(Exception):
    """The app gave its connection up while we were still connecting for it."""


EXPECTED = (
    Refused,
    Denied,
    AppLeft,
    BadRequest,
    Unreachable,
    NotReady,
    IdentityMismatch,
    IdentityUnavailable,
    TunnelError,
)
"""What can become of a connection without anything being wrong with the proxy."""


def status(error: Exception) -> int:
    """What a CONNECT that ended so is answered with."""
    match error:
        case Refused() | Denied():
            return error.status
        case BadRequest():
            return 400
        case _:
            return 503


def note(record: ConnectionRecord, error: Exception) -> None:
    """Fill in how a connection failed."""
    record.error, record.failed = str(error), not isinstance(error, AppLeft)
    record.outcome = Outcome.FAILED
    match error:
        case Denied():
            record.outcome, record.flag, record.policy = Outcome.DENIED, Flag.DENY, error.decision.policy
        case ConnectRefused(status=401):
            record.outcome, record.flag = Outcome.DENIED, Flag.DENY
        case ConnectRefused():
            record.flag = Flag.CONNECT
        case Unreachable():
            record.flag = Flag.CONNECT
            if error.timed_out and f":{HBONE_PORT}:" in f"{error}:":
                record.flag = Flag.NETWORK_POLICY
        case TlsFailed():
            record.flag = Flag.TLS_FAILURE
        case IdentityMismatch() | IdentityUnavailable():
            record.flag = Flag.IDENTITY_ERROR
        case TunnelLost() | StreamLost():
            record.flag = Flag.H2_HANDSHAKE_FAILURE


def note_end(record: ConnectionRecord, outcome: RelayOutcome) -> None:
    """Fill in how a relay ended. A reset is not an error of ours, but it is told."""
    if outcome.end is not End.CLEAN:
        record.error = f"{outcome.end.value}: {outcome.detail}"
    if outcome.end is End.CUT:
        record.flag, record.failed = Flag.DENY, True
