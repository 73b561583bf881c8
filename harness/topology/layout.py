"""Where a run's files are. Pure paths; every member sees them at the same place as the harness.

Unix socket paths end at 107 bytes, so names here are short. Each folder is visible only to the
members that need it: the comment beside each says who.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.topology.model import Topology


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of one run, below its directory."""

    directory: Path

    @property
    def topology(self) -> Path:
        """The resolved topology: agents and control plane."""
        return self.directory / "topology.json"

    @property
    def mesh(self) -> Path:
        """The mesh document: proxies, read-only. Replaced atomically, so its folder is what is mounted."""
        return self.directory / "mesh" / "mesh.json"

    def agent(self, node: str) -> Path:
        """The agent's control socket: harness and that agent."""
        return self.directory / "agent" / node / "agent.sock"

    def zds(self, node: str) -> Path:
        """ZDS: the node's agent listens, its proxy connects."""
        return self.directory / "zds" / node / "zds.sock"

    def ca(self, node: str) -> Path:
        """The certificate authority for one node's pods: control plane and that node's proxy."""
        return self.directory / "ca" / node / "ca.sock"

    def proxy(self, node: str) -> Path:
        """The proxy's control socket: harness and that proxy."""
        return self.directory / "proxy" / node / "control.sock"

    def bench(self, node: str) -> Path:
        """The proxy's bench-only socket: that proxy and the load processes."""
        return self.directory / "bench" / node / "bench.sock"

    def probe(self, pod: str) -> Path:
        """The first-packet probe process: harness and that process."""
        return self.directory / "load" / pod / "probe.sock"

    def locust(self, pod: str) -> Path:
        """The Locust process: harness and that process."""
        return self.directory / "load" / pod / "locust.sock"

    def app(self, member: str) -> Path:
        """A backend's own files, its status socket among them: harness and that backend."""
        return self.directory / "app" / member

    @property
    def controlplane(self) -> Path:
        """The control plane's control socket: harness and control plane."""
        return self.directory / "controlplane" / "control.sock"

    @property
    def logs(self) -> Path:
        """What members wrote, one file each: harness."""
        return self.directory / "logs"

    def folders(self, topology: Topology) -> list[Path]:
        """Every folder that has to exist before the first member starts."""
        folders = [self.mesh.parent, self.controlplane.parent, self.logs]
        for node in topology.nodes:
            sockets = (self.agent, self.zds, self.ca, self.proxy, self.bench)
            folders += [socket(node.name).parent for socket in sockets]
        for pod in topology.pods:
            folders.append(self.probe(pod.name).parent if pod.client else self.app(pod.name))
        folders += [self.app(host.name) for host in topology.hosts]
        return folders
