"""Which address a name stands for: a service's of the mesh, else what the system's resolver says."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from proxy.config import Settings
from proxy.listeners.dial import Unreachable
from proxy.net.address import address
from proxy.state.mesh import MeshState
from proxy.state.model import IPAddress, Service, Workload

LOOKUPS = 32
"""Look-ups at a time. One that hangs keeps its thread for as long as the resolver tries, 10 s and more;
the threads are not the loop's own, where the mesh document is read."""


class Names:
    """Resolves names for the clients of one listener, in threads of its own."""

    def __init__(self, settings: Settings) -> None:
        self._domain = settings.cluster_domain
        self._preferred = settings.preferred_service_namespace
        self._timeout_s = settings.connect_timeout_s
        self._threads = ThreadPoolExecutor(LOOKUPS, thread_name_prefix="resolve")

    async def resolve(self, state: MeshState, source: Workload, name: str) -> IPAddress:
        """The virtual address of the service called `name`, or the first address that the resolver knows.

        Raises:
            Unreachable: Nobody knows the name in time, or the service has no address on this network.
        """
        service = self._service(state, source.namespace, name)
        if service is not None:
            vip = next((vip for network, vip in service.vips if network == source.network), None)
            if vip is None:
                raise Unreachable(
                    f"service {service.key} has no address on network {source.network!r}", timed_out=False
                )
            return vip
        try:
            async with asyncio.timeout(self._timeout_s):
                answers = await asyncio.get_running_loop().run_in_executor(
                    self._threads, lambda: socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
                )
        except TimeoutError as exc:
            message = f"resolve {name}: no answer in {self._timeout_s:g} s"
            raise Unreachable(message, timed_out=True) from exc
        except (OSError, UnicodeError) as exc:  # UnicodeError: a label that the resolver's encoding refuses
            raise Unreachable(f"resolve {name}: no service of the mesh, and {exc}", timed_out=False) from exc
        text, _, *rest = answers[0][4]
        return address(str(text), *map(int, rest[1:]))

    def _service(self, state: MeshState, namespace: str, name: str) -> Service | None:
        for candidate in expansions(name, namespace, self._domain):
            service = state.service_named(candidate, namespace=namespace, preferred=self._preferred)
            if service is not None:
                return service
        return None


def expansions(name: str, namespace: str, domain: str) -> Iterator[str]:
    """The names in full that a name may stand for, in the order in which they are tried.

    Args:
        name: As a client writes it; with a dot at its end it is in full.
        namespace: The client's.
        domain: The cluster's, `cluster.local`.

    Source: ztunnel dns/server.rs get_aliases, without the search domains of a pod's resolv.conf.
    """
    yield name
    if name.endswith("."):
        return
    labels = name.lower().split(".")
    match len(labels):
        case 1:
            yield f"{name}.{namespace}.svc.{domain}"
        case 2:
            yield f"{name}.svc.{domain}"
            yield f"{name}.{namespace}.svc.{domain}"
        case 3 | 4 if labels[-1] == "svc":
            yield f"{name}.{domain}"
        case 3:
            yield f"{name}.svc.{domain}"
