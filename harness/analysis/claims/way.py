"""Claims about the way: what captures a packet, where it goes, in what. Judged on evidence.

Each is judged on cells that hold but for the check that says the same as the claim: a cell that refutes a
claim fails that check, and would otherwise be left out of its own trial.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.analysis.claims.model import Grounds, Ruling, Verdict, exactly, extent, not_measured, span, trips
from harness.analysis.ledger import Ledger
from harness.plan.model import Interception, Path, SameNode

DIVERTED = (Interception.TPROXY, Interception.TPROXY_NOTRACK)


def captured(grounds: Grounds) -> Ruling:
    judged = grounds.but("interception")
    once = extent(judged.of(interception=Interception.REDIRECT), "rule_hits_per_connection")
    diverted = [ledger for level in DIVERTED for ledger in judged.of(interception=level)]
    packets = extent(diverted, "rule_hits_per_connection")
    if once is None and packets is None:
        return not_measured("no cell with captured traffic")
    figures = []
    if once is not None:
        figures.append(f"redirect: {span(once)} rule hits per connection opened")
    if packets is not None:
        figures.append(f"tproxy: {span(packets)} rule hits per connection opened")
    good = (once is None or exactly(once, 1)) and (packets is None or packets[0] >= 1)
    return Ruling(
        verdict=Verdict.HOLDS if good else Verdict.DOES_NOT,
        because="the rules were met once per connection that the app opened (redirect) or more often (tproxy)"
        if good
        else "the rules were not met as often as the app opened connections",
        figures=tuple(figures),
    )


def transparent(grounds: Grounds) -> Ruling:
    judged = grounds.but("answers")
    paths: dict[str, float] = {}
    for path in Path:
        share = extent(judged.of(path=path), "right_answers")
        if share is not None:
            paths[path.value] = share[0]
    if not paths:
        return not_measured("no cell with captured traffic")
    figures = tuple(f"{path}: {share:.2%} of the answers" for path, share in paths.items())
    wrong = [path for path, share in paths.items() if share < 1]
    if wrong:
        return Ruling(
            verdict=Verdict.DOES_NOT,
            because=f"answers on {', '.join(wrong)} lacked the nonce, the dialled pod's name or the client's "
            "address",
            figures=figures,
        )
    missing = [
        path.value for path in (Path.SAME_NODE, Path.CROSS_NODE, Path.OUT_OF_MESH) if path.value not in paths
    ]
    return Ruling(
        verdict=Verdict.HOLDS_IF if missing else Verdict.HOLDS,
        because=f"it is read as {', '.join(paths)}; {', '.join(missing)} was not measured"
        if missing
        else "each answer carried its request's nonce, the dialled pod's name and the client's address",
        figures=figures,
    )


def tunnels_by_path(grounds: Grounds) -> Ruling:
    judged = grounds.but("wire_split")
    cross, out = judged.of(path=Path.CROSS_NODE), judged.of(path=Path.OUT_OF_MESH)
    tunnelled = judged.of(path=Path.SAME_NODE, same_node=SameNode.HBONE)
    plain = judged.of(path=Path.SAME_NODE, same_node=SameNode.PLAINTEXT)
    parts = {
        "across nodes in tunnels": _all(_only(each, "hbone_packets", "app_packets") for each in cross),
        "out of the mesh as plain TCP": _all(_only(each, "app_packets", "hbone_packets") for each in out),
        "on the same node in the clear, with same_node = plaintext": _all(
            each.totals.get("streams", 0) == 0 for each in plain
        ),
    }
    figures = (
        *_wire("cross-node", cross),
        *_wire("out-of-mesh", out),
        *_in_tunnels("same-node, HBONE", tunnelled),
        *_in_tunnels("same-node, plaintext", plain),
    )
    if wrong := [part for part, good in parts.items() if good is False]:
        return Ruling(
            verdict=Verdict.DOES_NOT, because=f"counts contradict: {', '.join(wrong)}", figures=figures
        )
    shown = [part for part, good in parts.items() if good]
    if not shown and not tunnelled:
        return not_measured("no cell on any path through the mesh")
    missing = [part for part, good in parts.items() if good is None]
    by_default = any(each.totals.get("streams", 0) for each in tunnelled)
    because = [
        f"shown: {', '.join(shown)}" if shown else "",
        f"not measured: {', '.join(missing)}" if missing else "",
        "today's default (same_node = hbone) tunnels on the same node too" if by_default else "",
    ]
    return Ruling(
        verdict=Verdict.HOLDS_IF if missing or by_default else Verdict.HOLDS,
        because="; ".join(part for part in because if part),
        figures=figures,
    )


def _all(parts: Iterator[bool]) -> bool | None:
    """Whether all are so; None where there is none."""
    found = list(parts)
    return all(found) if found else None


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
    judged = grounds.but("interception")
    hits = {
        level.value: extent(judged.of(interception=level), "rule_hits_per_connection")
        for level in (Interception.REDIRECT, *DIVERTED)
    }
    once = hits.pop(Interception.REDIRECT.value)
    diverted = {level: found for level, found in hits.items() if found is not None}
    outbound = [each for each in judged.of() if each.configuration.path is not Path.INTO_MESH]
    routes = extent(outbound, "routes_per_connection")
    if once is None or not diverted:
        return not_measured("it takes cells with redirect and with tproxy")
    figures = [f"redirect: {span(once)} rule hits per connection"]
    figures += [f"{level}: {span(found)} rule hits per connection" for level, found in diverted.items()]
    if routes is not None:
        figures.append(f"destination resolutions per connection, with and without conntrack: {span(routes)}")
    for metric in ("first.cold", "first.warm", "steady"):
        for tracking, where in ((True, ", conntrack on"), (False, ", conntrack off")):
            figures += trips(metric, grounds.round_trips(metric, conntrack=tracking), where)
    if not exactly(once, 1):
        return Ruling(
            verdict=Verdict.DOES_NOT,
            because=f"later packets meet the rule again with redirect: {span(once)} hits per connection",
            figures=tuple(figures),
        )
    resolved = _resolved(routes)
    if all(found[0] > 1 for found in diverted.values()):
        because = (
            "interception is redirect, whose nat rules conntrack walks once; with "
            + " and ".join(
                f"{level} a connection's packets met them {span(found)} times"
                for level, found in diverted.items()
            )
            + f". {resolved}"
        )
        return Ruling(verdict=Verdict.HOLDS_IF, because=because, figures=tuple(figures))
    skipping = " and ".join(f"{level} ({span(found)})" for level, found in diverted.items() if found[0] <= 1)
    return Ruling(
        verdict=Verdict.DOES_NOT,
        because=f"the rules were met no more often with {skipping} than with redirect, so that it is not "
        f"conntrack that lets later packets skip them. {resolved}",
        figures=tuple(figures),
    )


def _resolved(routes: tuple[float, float] | None) -> str:
    if routes is None:
        return "How often destinations were resolved was not counted"
    if exactly(routes, 1):
        return "Destinations are resolved once per connection either way, by the proxy"
    return f"Destinations are resolved {span(routes)} times per connection"


def policy_once(grounds: Grounds) -> Ruling:
    meshed = [
        each for each in grounds.but("decisions").of() if each.configuration.path is not Path.OUT_OF_MESH
    ]
    found, requests = extent(meshed, "policy_per_connection"), extent(meshed, "policy_per_request")
    if found is None or requests is None:
        return not_measured("no cell into the mesh")
    figures = (f"per connection: {span(found)}", f"per request: {span(requests)}")
    holds = exactly(found, 1) and requests[1] < 1
    return Ruling(
        verdict=Verdict.HOLDS if holds else Verdict.DOES_NOT,
        because="policy evaluations follow the number of connections, not of requests"
        if holds
        else f"policy was evaluated {span(found)} times per connection, {span(requests)} times per request",
        figures=figures,
    )


def no_encapsulation(grounds: Grounds) -> Ruling:
    judged = grounds.but("wire_split")
    out = [*judged.of(path=Path.OUT_OF_MESH), *judged.of(path=Path.INTO_MESH)]
    if not out:
        return not_measured("no cell with plaintext through the proxy")
    hbone = sum(each.totals.get("hbone_packets", 0) for each in out)
    app = sum(each.totals.get("app_packets", 0) for each in out)
    holds = app > 0 and hbone == 0
    return Ruling(
        verdict=Verdict.HOLDS if holds else Verdict.DOES_NOT,
        because="plaintext crossed the link under the app's own port, and nothing of it in a tunnel"
        if holds
        else "of what should be plaintext, packets crossed the link in a tunnel, or none under the app's",
        figures=(f"{app:,.0f} packets of the app's port, {hbone:,.0f} of port 15008",),
    )
