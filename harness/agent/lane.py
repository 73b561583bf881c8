"""What one lane carries on a node: its pods' rules, and the socket at which its proxy is handed them."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.agent.rules import captured
from harness.agent.wanted import Wanted
from harness.agent.zds import ZdsServer
from harness.topology.model import Pod


@dataclass(slots=True, kw_only=True)
class Lane:
    """One lane as its node's agent knows it."""

    zds: ZdsServer
    interception: str = ""
    """The level of its captured pods; empty until `capture`."""
    filler_rules: int = 0
    withdrawn: set[str] = field(default_factory=set)
    """Pods that were taken from the proxy: they carry no level's rules until they are enrolled again."""

    def diverts(self, pod: Pod) -> bool:
        """Whether the pod's connections are led to the proxy."""
        return pod.captured and self.interception not in {"", "none"} and pod.name not in self.withdrawn

    def rules_of(self, pod: Pod) -> Wanted:
        """What a pod has to carry now."""
        ipv6 = pod.address6 is not None
        if pod.captured and pod.name not in self.withdrawn:
            return captured(self.interception, filler_rules=self.filler_rules, ipv6=ipv6)
        return captured("none", ipv6=ipv6)
