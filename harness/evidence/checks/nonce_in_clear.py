"""Between the nodes, requests could be read where the path says plaintext, and nowhere else (M35).

Traffic of one node never crosses the link, so nothing may be heard of it there; whether it was encrypted,
this check does not say.
"""

from __future__ import annotations

from harness.evidence.case import Case
from harness.evidence.laws import Law, Outcome, at_least, equal, judge, not_applicable


def check(case: Case) -> Outcome:
    """Frames that hold the probes' nonce in clear, per node's link; the round's control heard some."""
    found = case.nonces
    if found.no_control:
        return not_applicable(found.no_control)
    laws: list[Law] = [
        at_least(
            f"node-{found.control_node} nonces in clear in the control",
            found.control_hits,
            1,
            f"plaintext out of the mesh, at the start of {found.control_cell}",
        )
    ]
    path = case.configuration.path.value
    for node in case.topology.nodes:
        hits = found.hits(node.name)
        crossing = case.crosses_nodes and node.name in case.nodes_of_path
        frames = found.frames(node.name)
        if crossing:
            laws.append(at_least(f"{node.netns} frames heard", frames, 1, f"{path} crosses that link"))
        if crossing and not case.tunnelled:
            laws.append(at_least(f"{node.netns} nonces in clear", hits, 1, f"{path} is plaintext there"))
        else:
            because = "tunnels are encrypted" if crossing else f"{path} does not cross that link"
            laws.append(equal(f"{node.netns} nonces in clear", hits, 0, f"of {frames} frames; {because}"))
    return judge(laws)
