"""Packets met the rules that they should have met, and no others (M08, C2, C7).

With `redirect` a rule is met by a connection's first packet alone, with `tproxy` by every packet of it:
the contrast is the proof of the level. SYNs are counted by rules of their own at every level, `none`
included, so that the client's connections are known to the kernel independently of what captures them.
"""

from __future__ import annotations

from harness.evidence.case import Case
from harness.evidence.laws import Law, Outcome, at_least, equal, judge
from harness.evidence.sources.rules import ARRIVED, SENT
from harness.plan.model import Interception

PACKETS_PER_CONNECTION = 4
"""Fewest packets that an app sends on a connection that carries a request: SYN, ACK, request, FIN."""

REDIRECTING = ("redirect-outbound", "redirect-inbound")
DIVERTING = ("mark-outbound", "tproxy-outbound", "tproxy-inbound")


def check(case: Case) -> Outcome:
    """SYNs and rule hits at the client and at the target follow from the connections opened."""
    return judge([*_client(case), *_target(case), *_wrong_level(case)])


def _client(case: Case) -> list[Law]:
    """What the app and the proxy sent from the client's namespace, and how it was captured."""
    namespace, opened = case.client.netns, case.opened
    again = case.retransmitted_syns(namespace)
    own = _dialled_by_proxy(case)
    laws = [
        equal(
            f"{namespace} SYNs sent",
            case.rules.hits(namespace, "count-syn", SENT),
            opened + own,
            f"{opened} connections opened by the load, {own} by the proxy, {again} SYNs sent again",
            slack=again,
        )
    ]
    if case.outbound_proxy is None:
        return laws + _untouched(case, namespace, REDIRECTING + DIVERTING)
    if case.configuration.interception is Interception.REDIRECT:
        hits = case.rules.hits(namespace, "redirect-outbound")
        laws.append(
            equal(f"{namespace} redirect-outbound", hits, opened, "one hit per connection", slack=again)
        )
    else:
        marked = case.rules.hits(namespace, "mark-outbound")
        laws += [
            at_least(
                f"{namespace} mark-outbound",
                marked,
                PACKETS_PER_CONNECTION * opened,
                f"every packet is hit, at least {PACKETS_PER_CONNECTION} per connection",
            ),
            equal(
                f"{namespace} tproxy-outbound",
                case.rules.hits(namespace, "tproxy-outbound"),
                marked,
                "every packet marked goes round through lo to the proxy",
            ),
        ]
    return laws


def _target(case: Case) -> list[Law]:
    """What came to the target's namespace, and how it was captured."""
    namespaces = [target.netns for target in case.targets]
    namespace, opened = ", ".join(namespaces), case.opened
    again = case.retransmitted_syns(case.client.netns, *namespaces)

    def hits_of(rule: str, chain: str = "") -> int:
        return sum(
            case.rules.hits(each, rule, chain) if chain else case.rules.hits(each, rule)
            for each in namespaces
        )

    arrived = hits_of("count-syn", ARRIVED)
    if case.inbound_proxy is None:
        laws = [equal(f"{namespace} SYNs arrived", arrived, opened, "connections opened", slack=again)]
        return laws + _untouched(case, namespaces[0], REDIRECTING + DIVERTING)
    captured = 0 if case.tunnelled or case.handed_over else opened
    from_outside = case.arrived("accepted_inbound") if case.tunnelled else captured
    carrier = "tunnels" if case.tunnelled else "connections"
    legs = hits_of("count-syn", SENT)
    laws = [
        equal(f"{namespace} SYNs sent", legs, opened, "one leg to the app per connection", slack=again),
        equal(
            f"{namespace} SYNs arrived",
            arrived,
            from_outside + opened,
            f"{from_outside} {carrier} from outside and {opened} legs to the app, none past the proxy",
            slack=again,
        ),
    ]
    if case.configuration.interception is Interception.REDIRECT:
        hits = hits_of("redirect-inbound")
        because = "one hit per plaintext connection from outside"
        laws.append(
            equal(f"{namespace} redirect-inbound", hits, captured, because, slack=again if captured else 0)
        )
    elif captured:
        hits = hits_of("tproxy-inbound")
        laws.append(
            at_least(f"{namespace} tproxy-inbound", hits, captured, "each plaintext connection's SYN")
        )
    return laws


def _dialled_by_proxy(case: Case) -> int:
    """Connections that the proxy opened inside the client's namespace."""
    node = case.outbound_proxy
    if node is None or case.handed_over:
        return 0
    if case.tunnelled:
        return case.tunnels.growth(node, "tunnels_opened")
    return case.tunnels.growth(node, "completed_outbound_passthrough")


def _wrong_level(case: Case) -> list[Law]:
    """Rules of the levels that this cell is not at."""
    foreign: tuple[str, ...]
    if case.configuration.interception is Interception.REDIRECT:
        foreign = DIVERTING
    elif case.configuration.interception is Interception.NONE:
        foreign = REDIRECTING + DIVERTING
    else:
        foreign = REDIRECTING
    return [law for pod in case.topology.pods for law in _untouched(case, pod.netns, foreign)]


def _untouched(case: Case, namespace: str, rules: tuple[str, ...]) -> list[Law]:
    level = case.configuration.interception.value
    return [
        equal(f"{namespace} {rule}", case.rules.hits(namespace, rule), 0, f"not captured by it at {level}")
        for rule in rules
    ]
