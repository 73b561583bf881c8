"""Between the nodes went what the path says: tunnels, plaintext, or nothing (C8, M35)."""

from __future__ import annotations

from harness.evidence.case import Case
from harness.evidence.laws import Law, Outcome, at_least, equal, judge

HBONE = ("wire-hbone-dport", "wire-hbone-sport")
APP = ("wire-app-dport", "wire-app-sport")


def check(case: Case) -> Outcome:
    """Packets by port on each node's link to the others, both directions."""
    laws: list[Law] = []
    for node in case.topology.nodes:
        crossing = case.crosses_nodes and node.name in case.nodes_of_path
        laws += _kind(case, node.netns, HBONE, carries=crossing and case.tunnelled)
        laws += _kind(case, node.netns, APP, carries=crossing and not case.tunnelled)
    return judge(laws)


def _kind(case: Case, namespace: str, rules: tuple[str, ...], *, carries: bool) -> list[Law]:
    path = case.configuration.path.value
    laws = []
    for rule in rules:
        packets = case.wire.packets(namespace, rule)
        if carries:
            laws.append(at_least(f"{namespace} {rule}", packets, 1, f"{path} goes that way"))
        else:
            laws.append(equal(f"{namespace} {rule}", packets, 0, f"{path} does not go that way"))
    return laws
