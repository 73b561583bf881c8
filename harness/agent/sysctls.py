"""Network settings of the testbed's namespaces, and why each is what it is.

Written through /proc/sys, which shows the namespace of the process that writes. On Docker that needs
`systempaths=unconfined` for the agent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path

from harness.agent import conntrack

ROOT = Path("/proc/sys/net")
IPV6 = ROOT / "ipv6"
"""There where the kernel has IPv6 at all, whether a namespace uses it or not."""


class SysctlError(Exception):
    """A setting could not be made; the message says which."""


class Kind(StrEnum):
    """What a namespace is."""

    POD = "pod"
    NODE = "node"
    UNDERLAY = "underlay"
    HOST = "host"


CONGESTION_CONTROLS = ("cubic", "reno")
"""The first that namespaces may use here: Linux' own default, else the one that is always allowed.
A host's own choice may be bbr, whose pacing is another experiment."""

CONNTRACK_TIMEOUT_S = 3600
"""Above any cell's length: entries are counted at a cell's end and must not expire before."""

_EVERY_LINK = {
    # the proxy's leg to the app comes in by lo under the client's address
    "ipv4/conf/{link}/rp_filter": "0",
    # a redirect from a router with pods on one side would be a packet that nobody asked for
    "ipv4/conf/{link}/send_redirects": "0",
    "ipv4/conf/{link}/accept_redirects": "0",
}

_WITHOUT_IPV6 = {
    # what capture does not see must not exist (T72)
    "ipv6/conf/{link}/disable_ipv6": "1",
}

_WITH_IPV6 = {
    "ipv6/conf/{link}/disable_ipv6": "0",
    # addresses are ours, and unique: nobody asks the link, nobody listens for routers
    "ipv6/conf/{link}/accept_dad": "0",
    "ipv6/conf/{link}/dad_transmits": "0",
    "ipv6/conf/{link}/accept_ra": "0",
    "ipv6/conf/{link}/autoconf": "0",
    "ipv6/conf/{link}/router_solicitations": "0",
    # no link-local address: nothing needs one, and it would be a way past the mesh
    "ipv6/conf/{link}/addr_gen_mode": "1",
    "ipv6/conf/{link}/accept_redirects": "0",
    # the reports of groups that the kernel joins go out at once, before anything is measured
    "ipv6/conf/{link}/mldv1_unsolicited_report_interval": "1",
    "ipv6/conf/{link}/mldv2_unsolicited_report_interval": "1",
}

_TCP = {
    # data in a SYN would make a first packet cheaper than it is
    "ipv4/tcp_fastopen": "0",
    # what one cell learnt about a path must not help the next
    "ipv4/tcp_no_metrics_save": "1",
    # a listener that closes hands what waits in its queue to its successor
    "ipv4/tcp_migrate_req": "1",
    # many connections to one target, and none of the testbed's own ports among them
    "ipv4/ip_local_port_range": "16384 65535",
    "ipv4/tcp_max_syn_backlog": "4096",
    "core/somaxconn": "4096",
}

_CONNTRACK = {
    f"netfilter/nf_conntrack_tcp_timeout_{state}": str(CONNTRACK_TIMEOUT_S)
    for state in ("close", "close_wait", "fin_wait", "last_ack", "time_wait", "unacknowledged")
} | {
    # a segment outside the window would be INVALID, pass by the redirection and be answered with a reset
    "netfilter/nf_conntrack_tcp_be_liberal": "1",
}

_RECORDED = (
    "core/rmem_max",
    "core/wmem_max",
    "ipv4/tcp_rmem",
    "ipv4/tcp_wmem",
    "ipv4/tcp_slow_start_after_idle",
    "ipv4/tcp_timestamps",
    "ipv4/tcp_tw_reuse",
    "netfilter/nf_conntrack_buckets",
    "netfilter/nf_conntrack_max",
)
"""Left as the host has them, and told with the rest."""

_OPTIONAL = ("ipv6/", "netfilter/", "bridge/", "ipv4/tcp_migrate_req")
"""Absent where the kernel lacks the feature (no IPv6, no br_netfilter, before 5.14), and conntrack's in user
namespaces of older kernels."""


def base(kind: Kind, *, ipv6: bool = False) -> dict[str, str]:
    """The settings of a namespace of this kind, apart from what an interception level adds."""
    settings = dict(_CONNTRACK)
    if kind in {Kind.POD, Kind.HOST}:
        settings |= _TCP
    if kind is Kind.NODE:
        settings["ipv4/ip_forward"] = "1"
        if ipv6:
            settings["ipv6/conf/all/forwarding"] = "1"
    if kind is Kind.UNDERLAY:
        settings |= {"bridge/bridge-nf-call-iptables": "0", "bridge/bridge-nf-call-ip6tables": "0"}
    return settings


def write(settings: Mapping[str, str]) -> None:
    """Make these settings in the namespace that the process is in.

    Raises:
        SysctlError: The kernel has no such setting, or does not let us write it.
    """
    for key, value in settings.items():
        path = ROOT / key
        if not path.exists() and key.startswith(_OPTIONAL):
            continue
        try:
            path.write_text(value)
        except OSError as exc:
            raise SysctlError(
                f"sysctl net/{key} = {value}: {exc.strerror}; the agent needs a writable /proc/sys "
                "(on Docker: security_opt systempaths=unconfined) and CAP_NET_ADMIN over the namespace"
            ) from exc


def prepare(kind: Kind, *, ipv6: bool = False) -> dict[str, str]:
    """Set up a namespace before it has links: new links inherit from `default`.

    Returns:
        What was set, and what was left alone but bears on results, for the record.

    Raises:
        SysctlError: The kernel lacks what is asked for, or does not let us write it.
        CtnetlinkError: The kernel does not give its connection table out.
    """
    if ipv6 and not IPV6.exists():
        raise SysctlError(
            f"the topology is dual-stack, but this kernel has no IPv6 ({IPV6} is absent): "
            "boot without ipv6.disable=1, or leave ipv6 out of topology.ip_families"
        )
    # where conntrack is a module, asking loads it, and only then its settings are there
    conntrack.count()
    settings = base(kind, ipv6=ipv6)
    every_link = _EVERY_LINK | (_WITH_IPV6 if ipv6 else _WITHOUT_IPV6)
    for link in ("all", "default", *_links()):
        settings |= {key.format(link=link): value for key, value in every_link.items()}
    allowed = (ROOT / "ipv4/tcp_allowed_congestion_control").read_text().split()
    settings["ipv4/tcp_congestion_control"] = next(name for name in CONGESTION_CONTROLS if name in allowed)
    write(settings)
    left = {key: _read(key) for key in _RECORDED}
    return {key: value for key, value in (settings | left).items() if value}


def _read(key: str) -> str:
    path = ROOT / key
    return " ".join(path.read_text().split()) if path.exists() else ""


def _links() -> Iterator[str]:
    for path in (ROOT / "ipv4/conf").iterdir():
        if path.name not in {"all", "default"}:
            yield path.name
