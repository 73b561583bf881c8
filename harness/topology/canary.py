"""The canary: a service at an address that nobody has and nothing routes to.

A proxy that resolves the mesh's services answers there; without one in the path, nothing does.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from harness.topology.model import APP_PORT, IPAddress, IpFamily, Pod, Topology

NAME = "canary"
ADDRESS = IPv4Address("198.51.100.1")
"""RFC 5737: for documentation, so in no testbed's network and on no route."""
ADDRESS6 = IPv6Address("2001:db8::c")
"""RFC 3849: the same for IPv6."""
PORT = 80
"""Another one than the backend's: who answers has been told both address and port by the mesh."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """The service, with its one endpoint and who asks for it."""

    client: Pod
    pod: Pod
    addresses: tuple[IPAddress, ...]

    @property
    def hostname(self) -> str:
        """Its name in the mesh."""
        return f"{NAME}.{self.pod.namespace}.svc.cluster.local"

    @property
    def key(self) -> str:
        """Under which a workload says that it is an endpoint."""
        return f"{self.pod.namespace}/{self.hostname}"

    @property
    def ports(self) -> dict[str, int]:
        """The service's port -> the endpoint's."""
        return {str(PORT): APP_PORT}

    def address_of(self, family: IpFamily) -> IPAddress:
        """Its address of a family (LookupError when it has none)."""
        wanted = 4 if family is IpFamily.IPV4 else 6
        for address in self.addresses:
            if address.version == wanted:
                return address
        raise LookupError(f"the canary has no {family.value} address")


def canary(topology: Topology) -> Canary | None:
    """The canary of a lane, from its view of the topology.

    Its endpoint is on another node than the client where there is one.
    None where no captured pod runs load, or none runs a backend.
    """
    clients = [pod for pod in topology.pods if pod.captured and pod.client]
    backends = [pod for pod in topology.pods if pod.captured and pod.answers]
    if not clients or not backends:
        return None
    client = clients[0]
    far = [pod for pod in backends if pod.node != client.node]
    pod = (far or backends)[0]
    addresses: tuple[IPAddress, ...] = (ADDRESS,)
    if client.address6 is not None and pod.address6 is not None:
        addresses += (ADDRESS6,)
    return Canary(client=client, pod=pod, addresses=addresses)
