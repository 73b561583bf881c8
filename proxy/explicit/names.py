"""Which address a name stands for: a service's of the mesh, else what the system's resolver says."""

from __future__ import annotations

import asyncio
import socket

from proxy.listeners.dial import Unreachable
from proxy.net.address import address
from proxy.state.mesh import MeshState
from proxy.state.model import IPAddress, Workload


async def resolve(state: MeshState, source: Workload, name: str, *, timeout_s: float) -> IPAddress:
    """The virtual address of the service called `name`, or the first address that the resolver knows.

    Raises:
        Unreachable: Nobody knows the name in time, or the service has no address on this network.
    """
    service = state.service_named(name, namespace=source.namespace)
    if service is not None:
        found = next((vip for network, vip in service.vips if network == source.network), None)
        if found is None:
            raise Unreachable(
                f"service {service.key} has no address on network {source.network!r}", timed_out=False
            )
        return found
    try:
        async with asyncio.timeout(timeout_s):
            answers = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except TimeoutError as exc:
        raise Unreachable(f"resolve {name}: no answer in {timeout_s:g} s", timed_out=True) from exc
    except (OSError, UnicodeError) as exc:  # UnicodeError: a label that the resolver's encoding does not take
        raise Unreachable(f"resolve {name}: no service of the mesh, and {exc}", timed_out=False) from exc
    return address(str(answers[0][4][0]))
