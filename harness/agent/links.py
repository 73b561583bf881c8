"""Making links, through pyroute2. These functions run inside the namespace that they wire.

Each can be called again on what it made before. Whether there is IPv6 is settled before a
link comes to exist (`sysctls`).
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from pyroute2.iproute.linux import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from harness.agent.wiring import Address, Neighbour, Port, Route, Veth
from harness.topology.model import IPAddress, IPNetwork

MTU = 1500
"""On every link alike; lo keeps the kernel's 65536, as in any pod."""

_FIRST_INDEX = 1000
"""Of our ends; the kernel numbers the other ends from 2. Where the ends of a pair happen to have one number,
the news that they are up is not urgent to the kernel, and a bridge forwards nothing from such a port for up
to a second. Source: linkwatch_urgent_event in net/core/link_watch.c."""
_WITHOUT_DAD = {6: {"flags": 0x02}}  # IFA_F_NODAD, linux/if_addr.h
_PERMANENT = 0x80  # NUD_PERMANENT, linux/neighbour.h
_STATIC = 0x40  # NUD_NOARP: behind a port for good; on a bridge, permanent means the bridge itself


class LinkError(Exception):
    """A link could not be made; the message says which, and why."""


def make(veths: Sequence[Veth]) -> list[str]:
    """Make the pairs that are not there, both ends down.

    Returns:
        The names of those made now.

    Raises:
        LinkError: One could not be made; those made by this call are removed again.
    """
    made: list[str] = []
    with IPRoute() as kernel:
        try:
            for index, veth in enumerate(veths, _FIRST_INDEX):
                if not kernel.link_lookup(ifname=veth.name):
                    with _attempt(f"make {veth.name}, the other end of {veth.peer} in {veth.peer_path}"):
                        _add(kernel, veth, index)
                    made.append(veth.name)
        except LinkError:
            discard(made)
            raise
    return made


def discard(names: Iterable[str]) -> None:
    """Remove those of the named links that exist, with their other ends."""
    with IPRoute() as kernel:
        for name in names:
            for index in kernel.link_lookup(ifname=name):
                kernel.link("del", index=index)


def bridge(name: str, ports: Sequence[Port]) -> None:
    """Make the bridge if it is not there, and put these ports on it."""
    with IPRoute() as kernel:
        kernel.link("set", index=_index(kernel, "lo"), state="up")
        with _attempt(f"make bridge {name}"):
            index = _bridge(kernel, name)
        for port in ports:
            with _attempt(f"put {port.link} on bridge {name}"):
                member = _index(kernel, port.link)
                kernel.link("set", index=member, master=index)
                kernel.link("set", index=member, state="up")
                kernel.fdb("replace", ifindex=member, lladdr=port.mac, state=_STATIC)


def unplug(links: Sequence[str]) -> None:
    """Take these ports off their bridge, up as they are; `bridge` puts them on again."""
    with IPRoute() as kernel:
        for link in links:
            with _attempt(f"take {link} off its bridge"):
                kernel.link("set", index=_index(kernel, link), master=0)


def configure(addresses: Sequence[Address], neighbours: Sequence[Neighbour], routes: Sequence[Route]) -> None:
    """Give links their addresses, bring them and lo up, and say what is reached over them."""
    with IPRoute() as kernel:
        kernel.link("set", index=_index(kernel, "lo"), state="up")
        for entry in addresses:
            with _attempt(f"address {entry.address}/{entry.prefix} on {entry.link}"):
                index = _index(kernel, entry.link)
                kernel.addr(
                    "replace",
                    index=index,
                    family=_family(entry.address),
                    address=str(entry.address),
                    prefixlen=entry.prefix,
                    **_WITHOUT_DAD.get(entry.address.version, {}),
                )
                kernel.link("set", index=index, state="up")
        for neighbour in neighbours:
            with _attempt(f"neighbour {neighbour.address} on {neighbour.link}"):
                kernel.neigh(
                    "replace",
                    family=_family(neighbour.address),
                    dst=str(neighbour.address),
                    lladdr=neighbour.mac,
                    ifindex=_index(kernel, neighbour.link),
                    state=_PERMANENT,
                )
        for route in routes:
            via = {"gateway": str(route.gateway)} if route.gateway else {"scope": "link"}
            with _attempt(f"route to {route.network} on {route.link}"):
                kernel.route(
                    "replace",
                    family=_family(route.network),
                    dst=str(route.network),
                    oif=_index(kernel, route.link),
                    **via,
                )


def _family(of: IPAddress | IPNetwork) -> int:
    return socket.AF_INET if of.version == 4 else socket.AF_INET6


def _add(kernel: IPRoute, veth: Veth, index: int) -> None:
    descriptor = os.open(veth.peer_path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        end = {"index": index, "mtu": MTU, **({"address": veth.mac} if veth.mac else {})}
        peer = {"ifname": veth.peer, "net_ns_fd": descriptor, "mtu": MTU}
        if veth.peer_mac:
            peer["address"] = veth.peer_mac
        kernel.link("add", kind="veth", ifname=veth.name, peer=peer, **end)
    finally:
        os.close(descriptor)


def _bridge(kernel: IPRoute, name: str) -> int:
    try:
        # agents of several nodes come here at once: the first one makes it
        kernel.link(
            "add",
            kind="bridge",
            ifname=name,
            mtu=MTU,
            br_stp_state=0,
            br_forward_delay=0,
            br_mcast_snooping=0,
        )
    except NetlinkError as exc:
        if exc.code != errno.EEXIST:
            raise
    index = _index(kernel, name)
    kernel.link("set", index=index, state="up")
    return index


def _index(kernel: IPRoute, name: str) -> int:
    found = kernel.link_lookup(ifname=name)
    if not found:
        raise LinkError(f"there is no link {name} here")
    index: int = found[0]
    return index


@contextmanager
def _attempt(what: str) -> Iterator[None]:
    try:
        yield
    except (NetlinkError, OSError) as exc:
        hint = "; a link of that name is there and is not ours" if exc.args[0] == errno.EEXIST else ""
        raise LinkError(f"{what}: {exc}{hint}") from exc
