"""What the agent needs of a kernel, found by calling what it calls: each in a fresh namespace of its own.

`python3 -m harness.agent.features FILE` writes `{feature: {"error": null or why not, "found": words}}`. It
runs where the agent would: with its image, its capabilities and its view of /proc.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from harness.agent import conntrack, links, netns, policy_routes, stray, sysctls, taps
from harness.agent.appliers import ApplyError
from harness.agent.delay import netem
from harness.agent.probe import APPLIER_ENV, NONE, probed
from harness.agent.rules import captured, levels
from harness.agent.sysctls import Kind
from harness.agent.wiring import Address, Neighbour, Port, Route, Veth, mac
from harness.agent.workers import FRESH, Work, WorkError, Workers

HERE = "/proc/self/ns/net"
WORKS = "works"


def main() -> None:
    """Try everything, and write down how each ended."""
    with Workers() as workers:
        results = tried(workers) | tried_rules(workers)
    Path(sys.argv[1]).write_text(json.dumps(results))


# What follows is called inside fresh namespaces; whatever it raises is why the feature is not there.


def make_links() -> None:
    """A pair of ends, a bridge with one of them on it, an address, a neighbour and a route on the other."""
    address = IPv4Address("192.0.2.1")
    far = IPv4Address("192.0.2.2")
    links.make([Veth(name="trial", mac=mac(address), peer="port", peer_mac="", peer_path=HERE)])
    links.bridge("bridge", [Port(link="port", mac=mac(address))])
    links.configure(
        [Address(link="trial", address=address, prefix=24)],
        [Neighbour(link="trial", address=far, mac=mac(far))],
        [Route(link="trial", network=IPv4Network("198.51.100.0/24"), gateway=far)],
    )


def prepare() -> None:
    """The settings of every kind of namespace."""
    for kind in Kind:
        sysctls.prepare(kind)


def prepare_six() -> None:
    """The settings of a dual-stack pod."""
    sysctls.prepare(Kind.POD, ipv6=True)


def route_marks() -> None:
    """The routes that tproxy's marks follow, there and gone again."""
    policy_routes.add(captured("tproxy").routes)
    policy_routes.keep(())


def track() -> None:
    """The connection table: emptied, and dumped against the kernel's own count.

    Raises:
        OSError: The dump is not what the kernel counts.
    """
    conntrack.flush()
    table = conntrack.dump()
    if table["counted"] != len(table["entries"]) + table["others"]:
        raise OSError(f"the table's dump differs from the kernel's count: {table}")


def listen() -> None:
    """Packet sockets with their filters, and the kernel's stamps on frames."""
    links.configure([], [], [])
    for opened in (stray.open_watch("lo"), taps.open_nonce_tap("lo"), taps.open_stamp_tap("lo")):
        opened.close()


def enter() -> None:
    """A namespace, by its file below /proc."""
    netns.inside(HERE, netns.fresh)


def delay() -> None:
    """A queue that delays frames.

    Raises:
        OSError: The kernel has none.
    """
    if not netem.lay(["lo"], 1000):
        raise OSError("the kernel has no queueing discipline netem")


FEATURES: Mapping[str, str] = {
    "links": make_links.__name__,
    "settings": prepare.__name__,
    "policy routes": route_marks.__name__,
    "conntrack table": track.__name__,
    "packet sockets": listen.__name__,
    "entering namespaces": enter.__name__,
    "netem": delay.__name__,
}
"""Feature -> function above."""
RULES = "rules"
IPV6 = "IPv6"


def tried(workers: Workers, features: Mapping[str, str] = FEATURES) -> dict[str, dict[str, Any]]:
    """Try each in a fresh namespace: feature -> why it is not there, and what was found where it is."""
    return {
        name: _result(partial(_in_namespace, workers, name, function)) for name, function in features.items()
    }


def tried_rules(workers: Workers) -> dict[str, dict[str, Any]]:
    """Likewise the applier, each level that captures, and all of them with IPv6."""
    names = [name for name in levels.names() if name != NONE]
    six = {IPV6: _result(lambda: _six(workers))}
    try:
        found = probed(workers, forced=_forced())
    except ApplyError as exc:
        return {name: {"error": str(exc), "found": ""} for name in (RULES, *names)} | six
    rows: dict[str, dict[str, Any]] = {RULES: {"error": None, "found": f"{found.applier}: {found.why}"}}
    for name in names:
        rows[name] = {"error": found.levels[name] or None, "found": f"{WORKS} with {found.applier}"}
    return rows | six


def _forced() -> str:
    return os.environ.get(APPLIER_ENV, "")


def _six(workers: Workers) -> str:
    _in_namespace(workers, IPV6, prepare_six.__name__)
    found = probed(workers, forced=_forced(), ipv6=True)
    for level, why in found.levels.items():
        if why:
            raise ApplyError(f"{level}: {why}")
    return f"{WORKS} with {found.applier}"


def _in_namespace(workers: Workers, name: str, function: str) -> str:
    workers.run([Work(namespace=name, path=FRESH, function=f"harness.agent.features:{function}")])
    return WORKS


def _result(attempt: Callable[[], str]) -> dict[str, Any]:
    try:
        return {"error": None, "found": attempt()}
    except (ApplyError, WorkError) as exc:
        return {"error": str(exc), "found": ""}


if __name__ == "__main__":
    main()
