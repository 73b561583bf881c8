"""What istio-cni installs in an ambient pod: NAT REDIRECT, and CONNMARK for the app's replies.

Conntrack is on, since both targets ask for it. A connection's first packet alone meets the nat rules.

Source: istio/istio cni/pkg/iptables (the default set, without DNS capture).
"""

from __future__ import annotations

from harness.agent.rules.levels import HEADS, PASS_BY, Level
from harness.agent.rules.marks import (
    ACCEPT,
    HBONE_PORT,
    INBOUND_PORT,
    NOT_LOOPBACK,
    OUTBOUND_PORT,
    PROBES,
    PROXY,
    REPLIES,
    TO_PROXY,
    marked,
    masked,
    unmarked,
)
from harness.agent.rules.model import Chain, Module, Option, Rule, RuleSet, Table


def _redirect(port: int) -> Module:
    return Module(name="REDIRECT", options=(Option(name="to-ports", value=str(port)),))


_MANGLE = Table(
    name="mangle",
    heads=HEADS,
    chains=(
        Chain(
            name="ISTIO_PRERT",
            rules=(
                Rule(
                    name="mark-connection",
                    why="the proxy's leg to the app, under the client's address: remember the connection",
                    matches=(marked(PROXY),),
                    target=Module(
                        name="CONNMARK", options=(Option(name="set-xmark", value=masked(TO_PROXY)),)
                    ),
                ),
            ),
        ),
        Chain(
            name="ISTIO_OUTPUT",
            rules=(
                Rule(
                    name="mark-replies",
                    why="the app's replies on such a connection go back to the proxy, not out of the pod",
                    matches=(
                        Module(name="connmark", options=(Option(name="mark", value=masked(TO_PROXY)),)),
                    ),
                    target=Module(
                        name="CONNMARK",
                        options=(
                            Option(name="restore-mark"),
                            Option(name="nfmask", value="0xffffffff"),
                            Option(name="ctmask", value="0xffffffff"),
                        ),
                    ),
                ),
            ),
        ),
    ),
)

_NAT = Table(
    name="nat",
    heads=HEADS,
    chains=(
        Chain(
            name="ISTIO_PRERT",
            rules=(
                Rule(
                    name="probe-inbound",
                    why="the node's health probes pass by the proxy",
                    source=PROBES,
                    protocol="tcp",
                    target=ACCEPT,
                ),
                Rule(
                    name="redirect-inbound",
                    why="plaintext from outside; HBONE and the proxy's own go on",
                    destination=NOT_LOOPBACK,
                    protocol="tcp",
                    matches=(
                        Module(
                            name="tcp", options=(Option(name="dport", value=str(HBONE_PORT), inverted=True),)
                        ),
                        unmarked(PROXY),
                    ),
                    target=_redirect(INBOUND_PORT),
                ),
            ),
        ),
        Chain(
            name="ISTIO_OUTPUT",
            rules=(
                Rule(
                    name="probe-replies",
                    why="answers to the node's health probes",
                    destination=PROBES,
                    protocol="tcp",
                    target=ACCEPT,
                ),
                *PASS_BY,
                Rule(
                    name="redirect-outbound",
                    why="everything else that the app opens",
                    destination=NOT_LOOPBACK,
                    protocol="tcp",
                    matches=(unmarked(PROXY),),
                    target=_redirect(OUTBOUND_PORT),
                ),
            ),
        ),
    ),
)

LEVEL = Level(
    rules=RuleSet(tables=(Table(name="raw"), _MANGLE, _NAT)),
    routes=(REPLIES,),
    sysctls={"ipv4/tcp_fwmark_accept": "0"},
    filler_table="nat",
)
