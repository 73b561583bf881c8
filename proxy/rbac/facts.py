"""What is known of a connection, and what was decided about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from proxy.identity.spiffe import SpiffeId
from proxy.state.model import IPAddress


class Facts(NamedTuple):
    """What is known of a connection. The identity comes from a verified certificate or not at all.

    The source address is the TCP peer's: on HBONE another proxy vouches for it as it does for the
    identity, in plaintext nobody does.
    """

    source_ip: IPAddress
    source_id: SpiffeId | None
    destination_ip: IPAddress
    destination_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether, and which policy said so."""

    allowed: bool
    policy: str | None
    """`namespace/name` of the deciding policy; None where none decided."""
    reason: str
    """For the access log, in ztunnel's words where it has words."""
    dry_run: str | None = None
    """What would be decided if dry-run policies were in force; None where nothing else."""
