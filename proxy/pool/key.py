"""What a tunnel is for."""

from __future__ import annotations

from typing import NamedTuple

from proxy.identity.spiffe import SpiffeId
from proxy.state.model import IPAddress, SocketAddress


class Key(NamedTuple):
    """Connections with the same key may share a tunnel; no others may."""

    source: SpiffeId
    expected: frozenset[str]
    source_ip: IPAddress
    destination: SocketAddress
