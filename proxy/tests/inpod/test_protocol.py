"""Packets, good and bad: what is taken, and that no descriptor stays open."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.inpod import protocol
from proxy.inpod.protocol import Add, Delete, Keep, MalformedMessage, SnapshotSent, decode
from proxy.net.namespace import Netns
from proxy.proto import zds_pb2
from proxy.tests.inpod.agent import add, delete, keep, snapshot_sent
from proxy.tests.inpod.fakes import POD
from proxy.tests.namespaces import open_descriptors

OWN = "/proc/self/ns/net"


@pytest.fixture(autouse=True)
def leaks() -> Iterator[None]:
    before = open_descriptors()
    yield
    assert open_descriptors() == before


def opened(*paths: str) -> list[int]:
    return [os.open(path, os.O_RDONLY) for path in paths]


def test_an_add_brings_its_namespace() -> None:
    request = decode(add(POD), opened(OWN))

    assert isinstance(request, Add)
    assert request.pod == POD
    assert isinstance(request.netns, Netns)
    with request.netns as netns, Netns.open(OWN) as own:
        assert netns.inode == own.inode


def test_the_other_kinds() -> None:
    assert decode(keep("u"), []) == Keep("u")
    assert decode(delete("u"), []) == Delete("u")
    assert decode(snapshot_sent(), []) == SnapshotSent()


def test_bytes_on_the_wire_are_istios() -> None:
    """ztunnel.md 1.14: a real agent and a real ztunnel say the same bytes."""
    assert bytes.fromhex("0801") == protocol.HELLO
    assert protocol.encode_ack(None) == bytes.fromhex("0a00")
    assert zds_pb2.WorkloadResponse.FromString(protocol.encode_ack("no")).ack.error == "no"
    assert delete("u") == bytes.fromhex("12031201") + b"u"


NO_UID = add(POD).replace(b"\n\x02u1", b"\n\x00")


@pytest.mark.parametrize(
    ("packet", "paths", "flags", "why"),
    [
        (add(POD), [], 0, "add with 0 descriptors, expected 1"),
        (add(POD), [OWN, OWN], 0, "add with 2 descriptors, expected 1"),
        (add(POD), ["/dev/null"], 0, "add of u1: descriptor is no namespace"),
        (add(POD), ["/proc/self/ns/mnt"], 0, "no network namespace"),
        (keep("u"), [OWN], 0, "keep with 1 descriptors, expected 0"),
        (delete("u"), [OWN], 0, "del with 1 descriptors, expected 0"),
        (snapshot_sent(), [OWN], 0, "snapshot_sent with 1 descriptors, expected 0"),
        (keep(""), [], 0, "keep without uid"),
        (delete(""), [], 0, "del without uid"),
        (NO_UID, [OWN], 0, "no WorkloadRequest|add without uid"),
        (
            zds_pb2.WorkloadRequest(add=zds_pb2.AddWorkload(uid="u")).SerializeToString(),
            [OWN],
            0,
            "without name",
        ),
        (b"\x7f\xff", [OWN], 0, "no WorkloadRequest"),
        (b"\x0a\x04\x0a\x02\xff\xfe", [OWN], 0, "no WorkloadRequest"),
        (add(POD)[:-3], [OWN], 0, "no WorkloadRequest"),
        (b"\x52\x00", [OWN], 0, "message with 1 descriptors"),
        (b"\x52\x00", [], 0, "message of no known kind"),
        (add(POD), [OWN], socket.MSG_TRUNC, "cut off"),
        (add(POD), [OWN], socket.MSG_CTRUNC, "cut off"),
    ],
)
def test_bad_packets_are_refused_with_their_descriptors_closed(
    packet: bytes, paths: list[str], flags: int, why: str
) -> None:
    """B95."""
    with pytest.raises(MalformedMessage, match=why):
        decode(packet, opened(*paths), flags)


@pytest.mark.parametrize("missing", ["name", "namespace", "service_account"])
def test_a_pod_without_a_name_is_refused(missing: str) -> None:
    """B96: no_workload_info_rejected."""
    info = {"name": "n", "namespace": "ns", "service_account": "sa", missing: ""}
    message = zds_pb2.AddWorkload(uid="u", workload_info=zds_pb2.WorkloadInfo(**info))
    packet = zds_pb2.WorkloadRequest(add=message).SerializeToString()

    with pytest.raises(MalformedMessage, match="without name, namespace or service account"):
        decode(packet, opened(OWN))


def test_more_descriptors_than_are_looked_at_are_cut_and_closed() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, Netns.open(OWN) as own:
        socket.send_fds(theirs, [add(POD)], [own.fd] * 40)
        data, descriptors, flags = protocol.receive(ours)
        assert len(descriptors) <= protocol.MAX_DESCRIPTORS
        with pytest.raises(MalformedMessage, match="cut off"):
            decode(data, descriptors, flags)


def test_received_descriptors_do_not_pass_to_child_processes() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, Netns.open(OWN) as own:
        socket.send_fds(theirs, [add(POD)], [own.fd])
        _, (descriptor,), _ = protocol.receive(ours)
        assert not os.get_inheritable(descriptor)
        os.close(descriptor)


@given(st.binary(max_size=80))
def test_any_bytes_are_refused_or_read(packet: bytes) -> None:
    try:
        request = decode(packet, [])
    except MalformedMessage:
        return
    assert isinstance(request, Keep | Delete | SnapshotSent)
