"""Connections were of the cell's IP family: the kernel counted that family's packets, none of the other's."""

from __future__ import annotations

from harness.evidence.case import Case
from harness.evidence.laws import Law, Outcome, at_least, equal, judge
from harness.evidence.sources.rules import ARRIVED, SENT
from harness.topology.model import IpFamily

COUNT = "count-tcp"


def check(case: Case) -> Outcome:
    """At client and target every TCP packet and every tracked connection is of the cell's family.

    A testbed with IPv4 alone has no rules for IPv6; there a stray frame is what IPv6 would be.
    """
    family = case.configuration.ip_family
    other = next(each for each in IpFamily if each is not family)
    laws: list[Law] = []
    arrived = ((target.netns, ARRIVED) for target in case.targets)
    for namespace, chain in ((case.client.netns, SENT), *arrived):
        found = case.rules.hits(namespace, COUNT, chain, family=family)
        laws.append(at_least(f"{namespace} {family.value} in {chain}", found, 1, "the cell's family"))
    for namespace in dict.fromkeys(end.netns for end in (case.client, *case.targets)):
        for chain in (SENT, ARRIVED):
            beside = case.rules.hits(namespace, COUNT, chain, family=other)
            laws.append(
                equal(f"{namespace} {other.value} in {chain}", beside, 0, f"the cell is {family.value}")
            )
        strayed = sum(
            (":" in entry.destination) is (other is IpFamily.IPV6)
            for entry in case.conntrack.entries.get(namespace, ())
        )
        laws.append(equal(f"{namespace} {other.value} entries", strayed, 0, f"the cell is {family.value}"))
    return judge(laws)
