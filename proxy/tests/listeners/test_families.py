"""P19, F29: pods of one family of addresses, and a kernel that has one alone; whole processes."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from proxy.net.namespace import Netns
from proxy.tests.bed import RULES, SERVER, Bed, Node, call, echo, workload
from proxy.tests.ca import Ca, grpc_ca
from proxy.tests.calls import ready, story
from proxy.tests.kernel import refusing_ipv6
from proxy.tests.namespaces import new_netns, run_in

pytestmark = pytest.mark.netns

ONE, OTHER = "fd00:9::1", "fd00:9::2"
SAID = "kernel has no IPv6, listening on IPv4 alone"


def test_a_kernel_without_ipv6_carries_ipv4_and_says_so(tmp_path: Path) -> None:
    """Nothing had to be set for it; a pod's address of IPv6 is unreachable and harms no other."""

    async def tell(bed: Bed) -> None:
        for node in (bed.a, bed.b):
            assert (node.folder / "log").read_text().count(SAID) == 1
        assert await asyncio.to_thread(call, bed.client, SERVER, 8080, b"four") == b"four"

    story(tmp_path, tell, IPV6_ENABLED="true", **refusing_ipv6())


def test_pods_without_ipv6_are_served_by_the_same_listeners(tmp_path: Path) -> None:
    """`disable_ipv6` in their namespaces, before anything listens there."""

    async def tell(bed: Bed) -> None:
        for netns in (bed.client, bed.server):
            links = (f"net.ipv6.conf.{link}.disable_ipv6=1" for link in ("all", "default", "lo"))
            run_in(netns, "sysctl", "-qw", *links)
        for node in (bed.a, bed.b):
            node.kill()
            await node.restart()
            await ready(node)
        assert await asyncio.to_thread(call, bed.client, SERVER, 8080, b"four") == b"four"
        for node in (bed.a, bed.b):
            assert SAID not in (node.folder / "log").read_text()

    story(tmp_path, tell, IPV6_ENABLED="true")


@contextmanager
def pods_of_ipv6() -> Iterator[tuple[Netns, Netns]]:
    """Two pods on one link, with no address of IPv4 and istio-cni's rules."""
    with new_netns() as one, new_netns() as other:
        end = f"/proc/{os.getpid()}/fd/{other.fd}"
        run_in(one, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", end)
        for netns, address in ((one, ONE), (other, OTHER)):
            run_in(netns, "ip", "-4", "address", "flush", "dev", "lo")
            run_in(netns, "ip", "link", "set", "eth0", "up")
            run_in(netns, "ip", "-6", "address", "add", f"{address}/64", "dev", "eth0", "nodad")
            run_in(netns, "ip", "-6", "rule", "add", "fwmark", "0x111/0xfff", "lookup", "100")
            run_in(netns, "ip", "-6", "route", "add", "local", "::/0", "dev", "lo", "table", "100")
            rules = RULES.replace("127.0.0.1/32", "::1/128").replace("127.0.0.1", "::1/128")
            run_in(netns, "sh", "-c", f"ip6tables-legacy-restore <<'END'\n{rules}END")
        yield one, other


def test_pods_of_ipv6_alone_reach_each_other_through_a_tunnel(tmp_path: Path) -> None:
    pods = [workload("client", ONE, "a"), workload("server", OTHER, "b")]
    (tmp_path / "mesh.json").write_text(json.dumps({"workloads": pods}))
    ca = Ca()

    async def run() -> None:
        async with grpc_ca(tmp_path / "ca.sock", lambda request: ca.answer(request.csr)):
            with ExitStack() as stack:
                client, server = stack.enter_context(pods_of_ipv6())
                apps = stack.enter_context(echo(server, 8080, OTHER))
                nodes = [Node(tmp_path, name, env={"IPV6_ENABLED": "true"}) for name in ("a", "b")]
                for node, name, netns in zip(nodes, ("client", "server"), (client, server), strict=True):
                    stack.callback(node.close)
                    await node.serve(name, netns)
                    await ready(node)
                assert await asyncio.to_thread(call, client, OTHER, 8080, b"six") == b"six"
                stats = await nodes[0].ask("control", "stats")
        assert apps == [ONE]
        assert stats["completed_outbound_hbone"] == 1

    asyncio.run(run())
