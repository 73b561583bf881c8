"""Capture without address translation: MARK, a policy route through lo, TPROXY. Conntrack is on.

Nothing here needs conntrack; one rule asks for it, so that `tproxy-notrack` can switch it off and
change nothing else. Every packet of a connection meets these rules.

The proxy marks all its sockets 0x539, as with `redirect`. Its leg to the app is re-marked 0x111 where
it comes in by lo; the app's accepted socket takes that mark over (`tcp_fwmark_accept`), so the app's
replies are routed back to the proxy though they are addressed to the client.
"""

from __future__ import annotations

from harness.agent.rules.levels import HEADS, PASS_BY, Level
from harness.agent.rules.marks import (
    ACCEPT,
    ANY,
    CAPTURED,
    HBONE_PORT,
    INBOUND_PORT,
    NOT_LOOPBACK,
    NOT_SYN,
    OUTBOUND_PORT,
    PROXY,
    REPLIES,
    ROUND_TRIP,
    TO_PROXY,
    marked,
    masked,
    unmarked,
)
from harness.agent.rules.model import Chain, Module, Option, Rule, RuleSet, Table


def _set_mark(mark: int) -> Module:
    return Module(name="MARK", options=(Option(name="set-xmark", value=masked(mark)),))


def _tproxy(port: int, mark: int) -> Module:
    return Module(
        name="TPROXY",
        options=(
            Option(name="on-port", value=str(port)),
            Option(name="on-ip", value=ANY),
            Option(name="tproxy-mark", value=masked(mark)),
        ),
    )


MANGLE = Table(
    name="mangle",
    heads=HEADS,
    chains=(
        Chain(
            name="ISTIO_PRERT",
            rules=(
                Rule(
                    name="conntrack-invalid",
                    why="asks for conntrack, which is what this level and tproxy-notrack differ in",
                    matches=(Module(name="conntrack", options=(Option(name="ctstate", value="INVALID"),)),),
                ),
                Rule(
                    name="mark-replies",
                    why="the proxy's leg to the app: its accepted socket answers with this mark",
                    in_interface="lo",
                    protocol="tcp",
                    matches=(marked(PROXY),),
                    target=_set_mark(TO_PROXY),
                ),
                Rule(
                    name="tproxy-outbound",
                    why="captured outbound packets, round through lo",
                    in_interface="lo",
                    protocol="tcp",
                    matches=(marked(CAPTURED),),
                    target=_tproxy(OUTBOUND_PORT, CAPTURED),
                ),
                Rule(
                    name="accept-owned",
                    why="the proxy's own connections, and those it took; a SYN would find a listening app",
                    in_interface="!lo",
                    protocol="tcp",
                    matches=(Module(name="tcp", options=(NOT_SYN,)), Module(name="socket")),
                    target=ACCEPT,
                ),
                Rule(
                    name="tproxy-inbound",
                    why="plaintext from outside; HBONE goes on",
                    in_interface="!lo",
                    protocol="tcp",
                    matches=(
                        Module(
                            name="tcp", options=(Option(name="dport", value=str(HBONE_PORT), inverted=True),)
                        ),
                        unmarked(PROXY),
                    ),
                    target=_tproxy(INBOUND_PORT, TO_PROXY),
                ),
            ),
        ),
        Chain(
            name="ISTIO_OUTPUT",
            rules=(
                *PASS_BY,
                Rule(
                    name="mark-outbound",
                    why="everything else that the app sends is routed to lo",
                    destination=NOT_LOOPBACK,
                    protocol="tcp",
                    matches=(unmarked(PROXY),),
                    target=_set_mark(CAPTURED),
                ),
            ),
        ),
    ),
)

LEVEL = Level(
    rules=RuleSet(tables=(Table(name="raw"), MANGLE, Table(name="nat"))),
    routes=(REPLIES, ROUND_TRIP),
    sysctls={"ipv4/tcp_fwmark_accept": "1"},
    filler_table="mangle",
)
