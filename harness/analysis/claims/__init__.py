"""The claims about the packet's way through ambient mode, and what this run says of each.

A verdict comes from this run's own figures and evidence, from valid cells only. What the run did not
measure is said to be so; a claim that holds under a condition is given with the condition.

model: the words, and what a claim is judged on. way: claims about what captures a packet and where it
goes. cost: claims about what is dear and what saves. effort: what processes spend on a packet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from harness.analysis.claims import cost, effort, way
from harness.analysis.claims.model import Claim, Grounds, Ruling, Verdict, not_measured

__all__ = ["CLAIMS", "Claim", "Grounds", "Ruling", "Verdict", "judge_claims"]


def judge_claims(grounds: Grounds) -> tuple[Claim, ...]:
    """Every claim with its ruling, in the order of the packet's way."""
    return tuple(
        Claim(number=number, text=text, **asdict(test(grounds)))
        for number, (text, test) in enumerate(CLAIMS, start=1)
    )


def _unmeasured(what: str) -> Callable[[Grounds], Ruling]:
    return lambda _: not_measured(what)


CLAIMS: tuple[tuple[str, Callable[[Grounds], Ruling]], ...] = (
    (
        (
            "Rules in the pod's namespace send outbound traffic to the proxy's port when it is not local "
            "and carries no mark of the proxy."
        ),
        way.captured,
    ),
    (
        (
            "The proxy recovers the original destination, so that apps notice nothing: on the same node, "
            "across nodes and outside the mesh."
        ),
        way.transparent,
    ),
    (
        "The first packet pays for policy and for the decision on encryption, in user space.",
        cost.first_pays,
    ),
    (
        (
            "Across nodes the mesh's traffic travels in an HTTP/2 CONNECT tunnel over mutual TLS; out of the "
            "mesh as plain TCP; on the same node in the clear."
        ),
        way.tunnels_by_path,
    ),
    (
        (
            "Conntrack records and tags the connection; later packets skip redirection rules and "
            "destination resolution."
        ),
        way.conntrack_skips,
    ),
    ("Later packets skip policy and the decision on encryption.", way.policy_once),
    (
        (
            "Later traffic reuses the tunnel; multiplexing saves connection overhead, and the tunnels also "
            "spread load over endpoints."
        ),
        cost.reuse_saves,
    ),
    ("Plaintext traffic uses its existing connection, without encapsulation.", way.no_encapsulation),
    ("All this makes later packets cheaper and throughput higher.", cost.later_cheaper),
    ("Later packets need fewer context switches and copies.", effort.later_lighter),
    (
        "Transparent capture needs Linux; elsewhere a local proxy does the same job.",
        _unmeasured("the explicit (SOCKS5) mode was not run"),
    ),
    (
        "Rules, policies and tunnel parameters can be tuned from logs, conntrack and metrics.",
        cost.tunable,
    ),
)
