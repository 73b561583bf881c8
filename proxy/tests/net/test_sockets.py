"""Sockets with their options, read back from the kernel."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address

import pytest

from proxy.net import options
from proxy.net.address import SocketName, socket_name
from proxy.net.namespace import Netns, inside
from proxy.net.original import is_local, original_destination
from proxy.net.sockets import connect, kernel_has_ipv6, listen
from proxy.tests.kernel import refusing_ipv6
from proxy.tests.namespaces import connect_socket, open_descriptors, run_in

pytestmark = pytest.mark.netns

MARK = 0x539


def connected(netns: Netns, target: SocketName, *, mark: int = MARK) -> socket.socket:
    sock = connect_socket(netns.fd, socket.AF_INET6 if ":" in target[0] else socket.AF_INET, mark=mark)
    sock.setblocking(True)
    sock.settimeout(5)
    sock.connect(target)
    return sock


@pytest.mark.parametrize("address", ["0.0.0.0", "::"])
def test_accepted_sockets_inherit_mark_and_transparency(netns: Netns, address: str) -> None:
    with (
        listen(netns.fd, address, 0, mark=MARK, transparent=True) as listener,
        connected(netns, ("127.0.0.1", listener.getsockname()[1])),
    ):
        listener.setblocking(True)
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, options.SO_MARK) == MARK
            assert accepted.getsockopt(socket.IPPROTO_IP, options.IP_TRANSPARENT) == 1


def test_two_proxies_may_listen_beside_each_other_and_without_reuse_not(netns: Netns) -> None:
    with listen(netns.fd, "0.0.0.0", 0, mark=MARK, transparent=True) as first:
        port = first.getsockname()[1]
        listen(netns.fd, "0.0.0.0", port, mark=MARK, transparent=True).close()
        before = open_descriptors()

        with pytest.raises(OSError, match=rf"listen on \[0.0.0.0\]:{port} .*Address already in use"):
            listen(netns.fd, "0.0.0.0", port, mark=MARK, transparent=True, reuse_port=False)

        assert open_descriptors() == before


def test_the_app_sees_the_clients_own_address(netns: Netns) -> None:
    with listen(netns.fd, "127.0.0.1", 0, mark=None, transparent=False) as app:
        leg = connect_socket(netns.fd, socket.AF_INET, mark=MARK)
        with leg:
            options.disguise(leg)
            leg.bind(("203.0.113.7", 0))
            assert leg.getsockname() == ("203.0.113.7", 0)
            # Answers to the foreign address come back here: in a pod by the mark, here by a route.
            run_in(netns, "ip", "route", "add", "local", "203.0.113.0/24", "dev", "lo")
            leg.setblocking(True)
            leg.settimeout(5)
            leg.connect(app.getsockname())
            app.setblocking(True)
            accepted, peer = app.accept()
            accepted.close()

        assert peer[0] == "203.0.113.7"


def test_ports_are_chosen_per_peer(netns: Netns) -> None:
    """More legs from one client than a range of two ports holds, to different targets."""
    run_in(netns, "sysctl", "-qw", "net.ipv4.ip_local_port_range=40000 40001")
    run_in(netns, "ip", "route", "add", "local", "203.0.113.0/24", "dev", "lo")
    legs = []
    with listen(netns.fd, "0.0.0.0", 8080, mark=None, transparent=False):
        for last in range(1, 7):
            leg = connect_socket(netns.fd, socket.AF_INET, mark=MARK)
            legs.append(leg)
            options.disguise(leg)
            leg.bind(("203.0.113.7", 0))
            leg.setblocking(True)
            leg.settimeout(5)
            leg.connect((f"127.0.0.{last}", 8080))

    assert len({leg.getsockname() for leg in legs}) <= 2
    for leg in legs:
        leg.close()


def test_options_are_as_set(netns: Netns) -> None:
    with connect_socket(netns.fd, socket.AF_INET, mark=MARK) as sock:
        options.keep_alive(sock, idle_s=180, interval_s=170, probes=9)
        options.user_timeout(sock, 1500)

        tcp = [socket.TCP_NODELAY, socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT]
        assert [sock.getsockopt(socket.IPPROTO_TCP, option) for option in tcp] == [1, 180, 170, 9]
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 1500


@pytest.mark.parametrize(("resets", "expected"), [(True, ConnectionResetError), (False, None)])
def test_close_resets_or_finishes(netns: Netns, resets: bool, expected: type[Exception] | None) -> None:
    """I6: only a clean end becomes a FIN."""
    with listen(netns.fd, "127.0.0.1", 0, mark=None, transparent=False) as listener:
        sock = connected(netns, listener.getsockname())
        listener.setblocking(True)
        accepted, _ = listener.accept()
        with accepted:
            accepted.settimeout(5)
            options.reset_on_close(sock, on=True)
            options.reset_on_close(sock, on=resets)
            sock.close()
            if expected is None:
                assert accepted.recv(1) == b""
            else:
                with pytest.raises(expected):
                    accepted.recv(1)


def test_original_destination_after_redirect(netns: Netns) -> None:
    with listen(netns.fd, "0.0.0.0", 15001, mark=MARK, transparent=True) as listener:
        run_in(netns, "ip", "route", "add", "local", "198.51.100.0/24", "dev", "lo")
        run_in(
            netns,
            *(
                "iptables-legacy",
                "-t",
                "nat",
                "-A",
                "OUTPUT",
                "-p",
                "tcp",
                "-m",
                "mark",
                "!",
                "--mark",
                hex(MARK),
            ),
            *("-j", "REDIRECT", "--to-ports", "15001"),
        )
        with connected(netns, ("198.51.100.9", 8080), mark=1):
            listener.setblocking(True)
            accepted, _ = listener.accept()
            with accepted:
                assert original_destination(accepted, 15001) == (ip_address("198.51.100.9"), 8080)


def test_original_destination_without_redirection_is_the_local_address(netns: Netns) -> None:
    """As after TPROXY; and T52, B73: a direct call of the listener gives the listener itself."""
    with listen(netns.fd, "::", 0, mark=MARK, transparent=True) as listener:
        port = listener.getsockname()[1]
        for target in ("127.0.0.1", "::1"):
            with connected(netns, (target, port)):
                listener.setblocking(True)
                accepted, _ = listener.accept()
                with accepted:
                    for listener_port in (port, 15001):
                        expected = (ip_address(target), port)
                        assert original_destination(accepted, listener_port) == expected


def test_a_link_local_destination_keeps_its_interface(netns: Netns) -> None:
    """P25: without it nobody could connect to one."""
    run_in(netns, "ip", "link", "add", "eth7", "type", "veth", "peer", "name", "eth8")
    run_in(netns, "ip", "link", "set", "eth8", "up")
    run_in(netns, "ip", "link", "set", "eth7", "up")
    run_in(netns, "ip", "address", "add", "fe80::7/64", "dev", "eth7", "nodad")
    with inside(netns.fd):
        index = socket.if_nametoindex("eth7")
    with listen(netns.fd, "::", 0, mark=MARK, transparent=True) as listener:
        port = listener.getsockname()[1]
        with connected(netns, socket_name(ip_address(f"fe80::7%{index}"), port)):
            listener.setblocking(True)
            accepted, _ = listener.accept()
            with accepted:
                address, _ = original_destination(accepted, 15001)

        assert str(address) == f"fe80::7%{index}"
        connected(netns, socket_name(address, port)).close()
        assert is_local(netns.fd, address)


def test_an_address_is_local_on_whichever_interface(netns: Netns) -> None:
    run_in(netns, "ip", "address", "add", "10.98.0.9/32", "dev", "lo")
    run_in(netns, "ip", "address", "add", "fd00::9/128", "dev", "lo", "nodad")
    before = open_descriptors()

    found = {
        text: is_local(netns.fd, ip_address(text))
        for text in ("127.0.0.1", "::1", "10.98.0.9", "fd00::9", "10.98.0.8", "fd00::8", "fe80::1")
    }

    assert [text for text, local in found.items() if local] == ["127.0.0.1", "::1", "10.98.0.9", "fd00::9"]
    assert open_descriptors() == before


@contextmanager
def deaf(netns: Netns) -> Iterator[tuple[str, int]]:
    """A listener that answers no more: its queue is full."""
    with (
        listen(netns.fd, "127.0.0.1", 0, mark=None, transparent=False, backlog=0) as listener,
        ExitStack() as held,
    ):
        target = listener.getsockname()
        for _ in range(3):
            sock = held.enter_context(connect_socket(netns.fd, socket.AF_INET, mark=MARK))
            sock.connect_ex(target)
        yield target


def test_connecting_is_over_when_the_call_returns(netns: Netns) -> None:
    async def run(target: tuple[str, int]) -> tuple[str, int]:
        with connect_socket(netns.fd, socket.AF_INET, mark=MARK) as sock:
            await connect(sock, target, timeout_s=5)
            reached: tuple[str, int] = sock.getpeername()
            return reached

    with listen(netns.fd, "127.0.0.1", 0, mark=None, transparent=False) as listener:
        target = listener.getsockname()

        assert asyncio.run(run(target)) == target


def test_nobody_listening_is_said(netns: Netns) -> None:
    async def run() -> None:
        with connect_socket(netns.fd, socket.AF_INET, mark=MARK) as sock:
            await connect(sock, ("127.0.0.1", 1), timeout_s=5)

    with pytest.raises(ConnectionRefusedError):
        asyncio.run(run())


def test_a_target_that_never_answers_times_out(netns: Netns) -> None:
    async def run(target: tuple[str, int]) -> None:
        with connect_socket(netns.fd, socket.AF_INET, mark=MARK) as sock:
            await connect(sock, target, timeout_s=0.05)

    with deaf(netns) as target, pytest.raises(TimeoutError):
        asyncio.run(run(target))


def test_an_answer_that_comes_later_connects(netns: Netns) -> None:
    """The kernel asks again after a second, and finds room by then."""

    async def run() -> None:
        with (
            listen(netns.fd, "127.0.0.1", 0, mark=None, transparent=False, backlog=0) as listener,
            ExitStack() as held,
        ):
            target = listener.getsockname()
            for _ in range(3):
                held.enter_context(connect_socket(netns.fd, socket.AF_INET, mark=MARK)).connect_ex(target)
            sock = held.enter_context(connect_socket(netns.fd, socket.AF_INET, mark=MARK))
            async with asyncio.TaskGroup() as tasks:
                waiting = tasks.create_task(connect(sock, target, timeout_s=30))
                await asyncio.sleep(0)
                assert not waiting.done()
                while not waiting.done():
                    try:
                        held.enter_context(listener.accept()[0])
                    except BlockingIOError:
                        await asyncio.sleep(0.01)

            assert sock.getpeername() == target

    asyncio.run(run())


@pytest.mark.parametrize(
    ("program", "network", "target"),
    [("iptables", "198.51.100.0/24", "198.51.100.9"), ("ip6tables", "2001:db8:9::/64", "2001:db8:9::9")],
)
def test_a_dual_stack_listener_knows_the_original_destination_of_either_family(
    netns: Netns, program: str, network: str, target: str
) -> None:
    """T72: IPv4 comes to it as a mapped address, and is told as the IPv4 that it is."""
    rule = f"-t nat -A OUTPUT -p tcp -m mark ! --mark {MARK:#x} -j REDIRECT --to-ports 15001"
    with listen(netns.fd, "::", 15001, mark=MARK, transparent=True) as listener:
        run_in(netns, "ip", "route", "add", "local", network, "dev", "lo")
        run_in(netns, f"{program}-legacy", *rule.split())
        with connected(netns, (target, 8080), mark=1):
            listener.setblocking(True)
            accepted, _ = listener.accept()
            with accepted:
                assert original_destination(accepted, 15001) == (ip_address(target), 8080)


def test_the_app_sees_the_clients_own_ipv6_address(netns: Netns) -> None:
    with listen(netns.fd, "::1", 0, mark=None, transparent=False) as app:
        with connect_socket(netns.fd, socket.AF_INET6, mark=MARK) as leg:
            options.disguise(leg)
            leg.bind(("2001:db8:7::7", 0))
            assert leg.getsockname()[:2] == ("2001:db8:7::7", 0)
            run_in(netns, "ip", "route", "add", "local", "2001:db8:7::/64", "dev", "lo")
            leg.setblocking(True)
            leg.settimeout(5)
            leg.connect(app.getsockname())
            app.setblocking(True)
            accepted, peer = app.accept()
            accepted.close()

        assert peer[0] == "2001:db8:7::7"


def test_a_kernel_without_ipv6_is_known_by_its_sockets(netns: Netns) -> None:
    """P19, F29: not by what is switched off for a namespace's links, where `::` listens all the same."""
    done = subprocess.run(
        [sys.executable, "-c", "from proxy.net import kernel_has_ipv6\nprint(kernel_has_ipv6())"],
        env={**os.environ, **refusing_ipv6()},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, kernel_has_ipv6()) == ("False\n", True)

    run_in(netns, "sysctl", "-qw", *(f"net.ipv6.conf.{link}.disable_ipv6=1" for link in ("all", "lo")))
    with (
        listen(netns.fd, "::", 15008, mark=MARK, transparent=True),
        connect_socket(netns.fd, socket.AF_INET, mark=MARK) as sock,
    ):
        sock.setblocking(True)
        sock.connect(("127.0.0.1", 15008))


def test_ipv6_alone_is_enough(netns: Netns) -> None:
    """P19: links without any address of IPv4."""
    run_in(netns, "ip", "-4", "addr", "flush", "dev", "lo")
    with (
        listen(netns.fd, "::", 15008, mark=MARK, transparent=True),
        connect_socket(netns.fd, socket.AF_INET6, mark=MARK) as sock,
    ):
        sock.setblocking(True)
        sock.connect(("::1", 15008))
