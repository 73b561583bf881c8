"""Claims about the way: what captures a packet, where it goes, in what. Judged on evidence."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.claims.model import Grounds, Ruling, Verdict, exactly, extent, not_measured, span, trips
from harness.analysis.ledger import Ledger
from harness.plan.model import Interception, Path, SameNode

DIVERTED = (Interception.TPROXY, Interception.TPROXY_NOTRACK)


def captured(grounds: Grounds) -> Ruling:
    once = extent(grounds.of(interception=Interception.REDIRECT), "rule_hits_per_connection")
    each_packet = extent(
        [each for level in DIVERTED for each in grounds.of(interception=level)], "rule_hits_per_connection"
    )
    if once is None and each_packet is None:
        return not_measured("no valid cell with captured traffic")
    figures = []
    if once is not None:
        figures.append(f"redirect: {span(once)} rule hits per connection opened")
    if each_packet is not None:
        figures.append(
            f"tproxy: {span(each_packet)} rule hits per connection, one for each packet of the app"
        )
    good = (once is None or exactly(once, 1)) and (each_packet is None or each_packet[0] >= 1)
    return Ruling(
        verdict=Verdict.HOLDS if good else Verdict.DOES_NOT,
        because="rule hits follow from the connections opened; the proxy's own, marked connections left the "
        "same namespaces and met no such rule (check interception of every valid cell)",
        figures=tuple(figures),
    )


def transparent(grounds: Grounds) -> Ruling:
    paths: dict[str, float] = {}
    for path in Path:
        found = extent(grounds.of(path=path), "right_answers")
        if found is not None:
            paths[path.value] = found[0]
    if not paths:
        return not_measured("no valid cell with captured traffic")
    figures = tuple(f"{path}: {share:.2%} of the answers" for path, share in paths.items())
    return Ruling(
        verdict=Verdict.HOLDS if all(share == 1 for share in paths.values()) else Verdict.DOES_NOT,
        because="each answer carried its request's nonce, the dialled pod's name and the client's address",
        figures=figures,
    )


def tunnels_by_path(grounds: Grounds) -> Ruling:
    cross, out = grounds.of(path=Path.CROSS_NODE), grounds.of(path=Path.OUT_OF_MESH)
    same = grounds.of(path=Path.SAME_NODE, same_node=SameNode.HBONE)
    plain = grounds.of(path=Path.SAME_NODE, same_node=SameNode.PLAINTEXT)
    if not cross and not out and not same:
        return not_measured("no valid cell on any path through the mesh")
    tunnelled = all(_only(each, "hbone_packets", "app_packets") for each in cross)
    bare = all(_only(each, "app_packets", "hbone_packets") for each in out)
    figures = [
        *_wire("cross-node", cross),
        *_wire("out-of-mesh", out),
        *_in_tunnels("same-node, HBONE", same),
        *_in_tunnels("same-node, plaintext", plain),
    ]
    if not tunnelled or not bare:
        return Ruling(
            verdict=Verdict.DOES_NOT, because="packets by port contradict it", figures=tuple(figures)
        )
    return Ruling(
        verdict=Verdict.HOLDS_IF,
        because="same_node = plaintext, as until 2024; today's default tunnels on the same node too"
        + ("" if plain else " (only that was measured here)"),
        figures=tuple(figures),
    )


def _only(ledger: Ledger, present: str, absent: str) -> bool:
    """Whether one kind of packet crossed the nodes' link and the other did not."""
    return ledger.totals.get(present, 0) > 0 and ledger.totals.get(absent, 0) == 0


def _in_tunnels(what: str, ledgers: Sequence[Ledger]) -> list[str]:
    if not ledgers:
        return []
    streams = sum(each.totals.get("streams", 0) for each in ledgers)
    return [f"{what}: {streams:,.0f} connections in tunnels"]


def _wire(path: str, ledgers: Sequence[Ledger]) -> list[str]:
    if not ledgers:
        return []
    hbone, app = (
        sum(each.totals.get(name, 0) for each in ledgers) for name in ("hbone_packets", "app_packets")
    )
    return [
        f"{path}: {hbone:,.0f} packets to or from port 15008 between the nodes, {app:,.0f} of the app's port"
    ]


def conntrack_skips(grounds: Grounds) -> Ruling:
    once = extent(grounds.of(interception=Interception.REDIRECT), "rule_hits_per_connection")
    tracked = extent(grounds.of(interception=Interception.TPROXY), "rule_hits_per_connection")
    bare = extent(grounds.of(interception=Interception.TPROXY_NOTRACK), "rule_hits_per_connection")
    outbound = [each for each in grounds.of() if each.configuration.path is not Path.INTO_MESH]
    routes = extent(outbound, "routes_per_connection")
    if once is None or (tracked is None and bare is None):
        return not_measured("it takes valid cells with redirect and with tproxy")
    figures = [f"redirect: {span(once)} rule hits per connection"]
    figures += [
        f"{name}: {span(found)}" for name, found in (("tproxy", tracked), ("tproxy-notrack", bare)) if found
    ]
    if routes is not None:
        figures.append(f"destination resolutions per connection, with and without conntrack: {span(routes)}")
    for metric in ("first.cold", "first.warm", "steady"):
        for tracking, where in ((True, ", conntrack on"), (False, ", conntrack off")):
            figures += trips(metric, grounds.round_trips(metric, conntrack=tracking), where)
    if not exactly(once, 1):
        return Ruling(
            verdict=Verdict.DOES_NOT, because="later packets meet the rule again", figures=tuple(figures)
        )
    return Ruling(
        verdict=Verdict.HOLDS_IF,
        because="interception is redirect, whose nat rules conntrack walks once; with tproxy every packet "
        "meets the rules, conntrack or not. Destinations are resolved once either way, by the proxy",
        figures=tuple(figures),
    )


def policy_once(grounds: Grounds) -> Ruling:
    meshed = [each for each in grounds.of() if each.configuration.path is not Path.OUT_OF_MESH]
    found, requests = extent(meshed, "policy_per_connection"), extent(meshed, "policy_per_request")
    if found is None or requests is None:
        return not_measured("no valid cell into the mesh")
    figures = (f"per connection: {span(found)}", f"per request: {span(requests)}")
    holds = exactly(found, 1) and requests[1] < 1
    return Ruling(
        verdict=Verdict.HOLDS if holds else Verdict.DOES_NOT,
        because="policy evaluations follow the number of connections, not of requests",
        figures=figures,
    )


def no_encapsulation(grounds: Grounds) -> Ruling:
    out = [*grounds.of(path=Path.OUT_OF_MESH), *grounds.of(path=Path.INTO_MESH)]
    if not out:
        return not_measured("no valid cell with plaintext through the proxy")
    hbone = sum(each.totals.get("hbone_packets", 0) for each in out)
    app = sum(each.totals.get("app_packets", 0) for each in out)
    return Ruling(
        verdict=Verdict.HOLDS if app > 0 and hbone == 0 else Verdict.DOES_NOT,
        because="plaintext crossed the link under the app's own port, and nothing of it in a tunnel",
        figures=(f"{app:,.0f} packets of the app's port, {hbone:,.0f} of port 15008",),
    )
