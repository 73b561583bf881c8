"""Namespaces by descriptor, and sockets inside them."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from proxy.net.namespace import NamespaceError, Netns, inside
from proxy.net.sockets import socket_in
from proxy.tests.namespaces import new_netns, open_descriptors

pytestmark = pytest.mark.netns


def where() -> int:
    return Path("/proc/thread-self/ns/net").stat().st_ino


def test_a_block_runs_inside_and_the_thread_comes_back(netns: Netns) -> None:
    home = where()

    with inside(netns.fd):
        there = where()

    assert (there, where()) == (netns.inode[1], home)


def test_the_thread_comes_back_after_an_error(netns: Netns) -> None:
    home = where()

    with pytest.raises(ZeroDivisionError), inside(netns.fd):
        raise ZeroDivisionError

    assert where() == home


def test_a_socket_stays_in_the_namespace_where_it_was_made(netns: Netns) -> None:
    with (
        new_netns() as other,
        socket_in(netns.fd, socket.AF_INET) as inner,
        socket_in(netns.fd, socket.AF_INET) as client,
        socket_in(other.fd, socket.AF_INET) as outer,
    ):
        inner.bind(("127.0.0.1", 0))
        inner.listen()
        address = inner.getsockname()
        client.setblocking(True)
        client.connect(address)
        outer.setblocking(True)

        with pytest.raises(ConnectionRefusedError):
            outer.connect(address)


def test_two_descriptors_of_one_namespace_have_one_inode(netns: Netns) -> None:
    with Netns(os.dup(netns.fd)) as again, new_netns() as other:
        assert again.inode == netns.inode
        assert other.inode != netns.inode


@pytest.mark.parametrize("path", ["/proc/self/ns/mnt", "/dev/null", "/proc/self/ns"])
def test_what_is_no_network_namespace_is_refused_and_closed(path: str) -> None:
    """B95."""
    before = open_descriptors()

    with pytest.raises(NamespaceError):
        Netns(os.open(path, os.O_RDONLY))

    assert open_descriptors() == before


def test_a_closed_namespace_says_so(netns: Netns) -> None:
    other = Netns(os.dup(netns.fd))
    other.close()
    other.close()

    with pytest.raises(NamespaceError, match="closed"):
        _ = other.fd
