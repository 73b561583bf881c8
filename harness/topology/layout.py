"""Where a run's files are. Pure paths; every member sees them at the same place as the harness.

Unix socket paths end at 107 bytes, so names here are short. Each folder is visible only to the
members that need it: the comment beside each says who.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.topology.model import Host, Pod, Topology


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of one run, below its directory."""

    directory: Path

    @property
    def topology(self) -> Path:
        """The resolved topology: agents and control plane."""
        return self.directory / "topology.json"

    def mesh(self, lane: int) -> Path:
        """A lane's mesh document: its proxies, read-only. Replaced by a rename, so its folder is mounted."""
        return self.directory / "mesh" / str(lane) / "mesh.json"

    def agent(self, node: str) -> Path:
        """The agent's control socket: harness and that agent."""
        return self.directory / "agent" / node / "agent.sock"

    def zds(self, node: str, lane: int) -> Path:
        """ZDS: the node's agent listens at one socket per lane, the lane's proxy connects."""
        return self.directory / "zds" / node / str(lane) / "zds.sock"

    def ca(self, node: str, lane: int) -> Path:
        """The certificate authority for a lane's pods on a node: control plane and that proxy."""
        return self.directory / "ca" / node / str(lane) / "ca.sock"

    def proxy(self, node: str, lane: int) -> Path:
        """The proxy's control socket: harness and that proxy."""
        return self.directory / "proxy" / node / str(lane) / "control.sock"

    def bench(self, node: str, lane: int) -> Path:
        """The proxy's bench-only socket: that proxy and the load processes."""
        return self.directory / "bench" / node / str(lane) / "bench.sock"

    def sockets(self, node: str) -> Path:
        """Where a node's agent hands out its pods' sockets: that agent and the load processes."""
        return self.directory / "sockets" / node / "sockets.sock"

    @property
    def probe(self) -> Path:
        """The first-packet probe process: harness and that process."""
        return self.directory / "load" / "probe" / "probe.sock"

    @property
    def locust(self) -> Path:
        """The Locust process: harness and that process."""
        return self.directory / "load" / "locust" / "locust.sock"

    def app(self, member: Pod | Host) -> Path:
        """A backend's own files, its status socket among them: harness and that backend."""
        return self.directory / "app" / member.netns

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
        lanes = range(1, topology.lanes + 1)
        folders = [self.controlplane.parent, self.logs, *(self.mesh(lane).parent for lane in lanes)]
        folders += [self.probe.parent, self.locust.parent]
        for node in topology.nodes:
            folders += [self.agent(node.name).parent, self.sockets(node.name).parent]
            for socket in (self.zds, self.ca, self.proxy, self.bench):
                folders += [socket(node.name, lane).parent for lane in lanes]
        folders += [self.app(pod) for pod in topology.pods if pod.answers]
        folders += [self.app(host) for host in topology.hosts]
        return folders
