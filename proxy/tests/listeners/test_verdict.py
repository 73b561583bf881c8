"""Which flag and which status each error gets."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from proxy.hbone.headers import BadRequest
from proxy.identity.identities import IdentityUnavailable
from proxy.identity.peer import IdentityMismatch
from proxy.listeners.dial import Unreachable
from proxy.listeners.verdict import Denied, Refused, note, note_end, status
from proxy.rbac import Decision
from proxy.relay.outcome import End
from proxy.relay.outcome import Outcome as RelayOutcome
from proxy.state.store import NotReady
from proxy.telemetry import ConnectionRecord, Direction, Flag, Outcome
from proxy.tunnel.errors import ConnectRefused, StreamLost, TlsFailed

DENIED = Denied(Decision(allowed=False, policy="ns/p", reason="explicitly denied by: ns/p"))
REFUSED = Unreachable("connect to 10.0.0.2:80: refused", timed_out=False)
BLOCKED = Unreachable("connect to 10.0.0.2:15008: no answer", timed_out=True)
SLOW = Unreachable("connect to 10.0.0.2:80: no answer", timed_out=True)


def record() -> ConnectionRecord:
    return ConnectionRecord(direction=Direction.OUTBOUND, source_address=(ip_address("10.0.0.1"), 1))


@pytest.mark.parametrize(
    ("error", "outcome", "flag", "code"),
    [
        (DENIED, Outcome.DENIED, Flag.DENY, 401),
        (ConnectRefused(401), Outcome.DENIED, Flag.DENY, 503),
        (ConnectRefused(503), Outcome.FAILED, Flag.CONNECT, 503),
        (ConnectRefused(400), Outcome.FAILED, Flag.CONNECT, 503),
        (REFUSED, Outcome.FAILED, Flag.CONNECT, 503),
        (BLOCKED, Outcome.FAILED, Flag.NETWORK_POLICY, 503),
        (SLOW, Outcome.FAILED, Flag.CONNECT, 503),
        (TlsFailed("no"), Outcome.FAILED, Flag.TLS_FAILURE, 503),
        (StreamLost("no", 10), Outcome.FAILED, Flag.H2_HANDSHAKE_FAILURE, 503),
        (StreamLost("no", 8), Outcome.FAILED, Flag.H2_HANDSHAKE_FAILURE, 503),
        (IdentityMismatch("no"), Outcome.FAILED, Flag.IDENTITY_ERROR, 503),
        (IdentityUnavailable("no"), Outcome.FAILED, Flag.IDENTITY_ERROR, 503),
        (BadRequest("no"), Outcome.FAILED, Flag.NONE, 400),
        (Refused("no", status=400), Outcome.FAILED, Flag.NONE, 400),
        (NotReady("no"), Outcome.FAILED, Flag.NONE, 503),
    ],
)
def test_error_has_its_flag_and_status(error: Exception, outcome: Outcome, flag: Flag, code: int) -> None:
    noted = record()
    note(noted, error)

    assert (noted.outcome, noted.flag, noted.error, noted.failed) == (outcome, flag, str(error), True)
    assert status(error) == code


@pytest.mark.parametrize(
    ("end", "error", "flag"),
    [
        (End.CLEAN, None, Flag.NONE),
        (End.NEAR_RESET, "near-reset: why", Flag.NONE),
        (End.FAR_RESET, "far-reset: why", Flag.NONE),
        (End.CUT, "cut: why", Flag.DENY),
    ],
)
def test_end_of_a_relay_is_told(end: End, error: str | None, flag: Flag) -> None:
    """A reset is an app's affair; to be cut is a failure."""
    noted = record()
    note_end(noted, RelayOutcome(end, "why"))

    assert (noted.error, noted.flag, noted.failed) == (error, flag, flag is Flag.DENY)
