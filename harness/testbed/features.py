"""What the kernel can do, found by doing it: run inside a throwaway network namespace.

`python3 -m harness.testbed.features` prints `{feature: null | what went wrong}`. Standard library,
the iptables programs and pyroute2 only. Nothing is cleaned up: the namespace goes with the process.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

IP_TRANSPARENT, IP_FREEBIND = 19, 15
"""linux/in.h"""
CTNETLINK_GET_DUMP = bytes.fromhex("14000000010101030000000000000000") + bytes([2, 0, 0, 0])
"""nlmsghdr (IPCTNL_MSG_CT_GET, NLM_F_REQUEST | NLM_F_DUMP) and nfgenmsg (AF_INET):
linux/netfilter/nfnetlink_conntrack.h"""

RULES = {
    "REDIRECT": "-t nat -A PREROUTING -p tcp -j REDIRECT --to-ports 15006",
    "TPROXY": "-t mangle -A PREROUTING -p tcp -j TPROXY --on-port 15001 --tproxy-mark 0x112/0xfff",
    "socket match": "-t mangle -A PREROUTING -p tcp -m socket -j ACCEPT",
    "notrack": "-t raw -A PREROUTING -j CT --notrack",
    "conntrack match": "-t mangle -A PREROUTING -m conntrack --ctstate NEW -j ACCEPT",
    "CONNMARK": "-t mangle -A PREROUTING -p tcp -j CONNMARK --save-mark",
    "MARK": "-t mangle -A OUTPUT -p tcp -m mark ! --mark 0x539/0xfff -j MARK --set-mark 0x112",
}
"""One rule of each kind that the interception levels are made of."""


def main() -> None:
    """Try everything, in an order in which what comes later needs what came before."""
    results = {name: _tried(attempt) for name, attempt in attempts().items()}
    sys.stdout.write(json.dumps(results) + "\n")


def attempts() -> dict[str, Callable[[], None]]:
    """Feature -> something that raises OSError when it is not there."""
    found: dict[str, Callable[[], None]] = {
        "links": _links,
        "sysctls": _sysctls,
        "iptables legacy": lambda: _iptables("iptables-legacy", "-t nat -L"),
    }
    program = _program()
    for name, rule in RULES.items():
        found[name] = lambda rule=rule: _iptables(program, rule)  # type: ignore[misc]  # mypy: default in lambda
    found["IPv6"] = lambda: _ipv6(program)
    found["conntrack table"] = _conntrack
    found["transparent sockets"] = _transparent
    found["netem"] = _netem
    return found


def _tried(attempt: Callable[[], None]) -> str | None:
    try:
        attempt()
    except OSError as exc:
        return str(exc)
    return None


def _program() -> str:
    """iptables on the legacy tables where they exist, else what the system has."""
    legacy = shutil.which("iptables-legacy")
    if legacy and _tried(lambda: _iptables(legacy, "-t nat -L")) is None:
        return legacy
    return shutil.which("iptables") or "iptables"


def _iptables(program: str, arguments: str) -> None:
    _run([program, "-w", "5", *arguments.split()])


def _links() -> None:
    ip = shutil.which("ip")
    if ip is None:
        # Only the library is needed to run a testbed; the program is for people.
        from pyroute2 import IPRoute  # noqa: PLC0415  # where there is no ip(8)

        with IPRoute() as route:
            route.link("add", ifname="v0", kind="veth", peer="v1")
            route.link("add", ifname="br0", kind="bridge")
        return
    _run([ip, "link", "add", "v0", "type", "veth", "peer", "name", "v1"])
    _run([ip, "link", "add", "br0", "type", "bridge"])
    _run([ip, "link", "set", "v0", "master", "br0"])


def _sysctls() -> None:
    for name, value in (("ip_forward", "1"), ("conf/all/rp_filter", "0"), ("tcp_fwmark_accept", "1")):
        path = Path("/proc/sys/net/ipv4") / name
        try:
            path.write_text(value)
        except OSError as exc:
            raise OSError(f"{path}: {exc.strerror}") from exc


def _ipv6(program: str) -> None:
    path = Path("/proc/sys/net/ipv6/conf/all/disable_ipv6")
    try:
        path.write_text("0")
    except OSError as exc:
        raise OSError(f"{path}: {exc.strerror}") from exc
    directory, _, name = program.rpartition("/")
    six = f"{directory}/{name.replace('iptables', 'ip6tables')}" if directory else "ip6tables"
    for rule in RULES.values():
        _iptables(six, rule)


def _conntrack() -> None:
    if not Path("/proc/sys/net/netfilter/nf_conntrack_count").exists():
        raise OSError("/proc/sys/net/netfilter/nf_conntrack_count is absent")
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as netlink:  # 12: NETLINK_NETFILTER
        netlink.settimeout(2)
        netlink.send(CTNETLINK_GET_DUMP)
        answer = netlink.recv(65536)
    kind = int.from_bytes(answer[4:6], sys.byteorder)
    code = int.from_bytes(answer[16:20], sys.byteorder, signed=True)
    if kind == 2 and code:  # NLMSG_ERROR
        raise OSError(f"dumping the table over netlink: error {-code} (nf_conntrack_netlink)")


def _transparent() -> None:
    with socket.socket() as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0x539)
        made.setsockopt(socket.IPPROTO_IP, IP_TRANSPARENT, 1)
        made.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        made.bind(("192.0.2.1", 0))


def _netem() -> None:
    # as the agent does it: tc(8) may be absent
    from pyroute2 import IPRoute, NetlinkError  # noqa: PLC0415

    with IPRoute() as kernel:
        (index,) = kernel.link_lookup(ifname="lo")
        try:
            kernel.tc("add", "netem", index, delay=1000)
        except NetlinkError as exc:
            raise OSError(f"queueing discipline netem: {exc}") from exc


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise OSError(f"there is no {command[0]}") from None
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")


if __name__ == "__main__":
    main()
