"""Whether a connection may: authorization policies and their evaluation. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from proxy.identity.spiffe import SpiffeId
from proxy.state.model import IPAddress


class Facts(NamedTuple):
    """What is known of a connection. The identity comes from a verified certificate or not at all."""

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


class Compiled:
    """The policies that apply to one workload, ready to be evaluated."""


def evaluate(policies: Compiled, facts: Facts) -> Decision:
    raise NotImplementedError
