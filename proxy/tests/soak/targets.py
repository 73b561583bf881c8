"""What is fuzzed."""

from __future__ import annotations

import os
from random import Random
from typing import Final

from h2.errors import ErrorCodes

from proxy.explicit.socks import Negotiation, NotSocks
from proxy.hbone.authority import parse_authority
from proxy.hbone.connection import Connection, Side
from proxy.hbone.errors import BadAuthority, HboneError
from proxy.hbone.events import Data, Ended, Requested
from proxy.hbone.headers import parse_request, response_headers
from proxy.identity.spiffe import InvalidSpiffeId, SpiffeId
from proxy.inpod.protocol import Add, MalformedMessage, decode
from proxy.net import Here
from proxy.state.document import MalformedDocument, parse
from proxy.tests.explicit.reach import document
from proxy.tests.hbone.pair import HEADERS, Pair
from proxy.tests.inpod.agent import add, delete, keep, snapshot_sent
from proxy.tests.inpod.fakes import POD
from proxy.tests.soak.fuzz import Target

OUTPUT_CAP: Final = 1 << 20
"""Most that one input of 64 KiB may make a connection say."""


def conversation() -> dict[Side, bytes]:
    """What each side of a tunnel receives in a life of a few streams."""
    pair = Pair()
    heard = {Side.CLIENT: b"", Side.SERVER: b""}
    deliver = pair.deliver

    def overheard(to: Connection, data: bytes) -> None:
        heard[to.side] += data
        deliver(to, data)

    pair.deliver = overheard  # type: ignore[method-assign]
    pair.pump()
    for size in (1, 100, 5000):
        stream_id = pair.connect()
        for sender in (pair.client, pair.server):
            pair.send(sender, stream_id, bytes(size))
        pair.client.ping()
        pair.pump()
        if size == 100:
            pair.client.reset(pair.stream(pair.client, stream_id), ErrorCodes.CANCEL)
        else:
            pair.client.end(stream_id)
            pair.server.end(stream_id)
        pair.pump()
    pair.client.drain()
    pair.server.drain()
    pair.pump()
    return heard


def receive(side: Side, data: bytes) -> None:
    """A connection that behaves as the listeners do: accepts, credits, answers an end by an end."""
    connection = Connection(side)
    connection.start()
    if side is Side.CLIENT:
        for _ in range(3):
            connection.connect(HEADERS)
    said = len(connection.output())
    streams = {}
    for start in range(0, len(data), 4096):
        for event in connection.receive(data[start : start + 4096], 0.0):
            match event:
                case Requested(stream_id=stream_id):
                    if connection.alive(stream_id):
                        streams[stream_id] = connection.stream(stream_id)
                        connection.answer(stream_id, response_headers(200))
                case Data(stream_id=stream_id, payload=payload):
                    if side is Side.CLIENT and stream_id not in streams and connection.alive(stream_id):
                        streams[stream_id] = connection.stream(stream_id)
                    if stream_id in streams:
                        connection.credit(streams[stream_id], len(payload))
                case Ended(stream_id=stream_id):
                    if connection.alive(stream_id):
                        connection.end(stream_id)
        said += len(connection.output())
    assert said < OUTPUT_CAP, f"{said} bytes said"


def frames(random: Random, data: bytes) -> bytes:
    """A frame of any kind behind a whole number of frames; the preface stays."""
    preface = 24 if data.startswith(b"PRI") else 0
    at = preface
    ends = [at]
    while at + 9 <= len(data):
        at += 9 + int.from_bytes(data[at : at + 3])
        ends.append(at)
    cut = random.choice(ends)
    payload = random.randbytes(random.choice((0, 1, 4, 5, 8, 9, 30)))
    kind, flags = random.randrange(12), random.choice((0, 1, 4, 5, 8, 0x20, 0xFF))
    stream_id = random.choice((0, 1, 2, 3, 5, 7, 99, 2**31 - 1))
    frame = len(payload).to_bytes(3) + bytes((kind, flags)) + stream_id.to_bytes(4) + payload
    return data[:cut] + frame * random.choice((1, 1, 1, 2, 200)) + data[cut:]


def packet(data: bytes) -> None:
    """A ZDS packet with a namespace: whatever is said of it, its descriptor is closed."""
    descriptor = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        request = decode(data, [descriptor])
        if isinstance(request, Add):
            assert not isinstance(request.netns, Here)
            request.netns.close()
    finally:
        try:
            os.close(descriptor)
        except OSError:
            pass
        else:
            raise AssertionError("descriptor left open")


def plain_packet(data: bytes) -> None:
    """A ZDS packet without a descriptor."""
    decode(data, [])


def negotiate(data: bytes) -> None:
    """A SOCKS5 client, byte by byte."""
    negotiation = Negotiation()
    for byte in data:
        if not negotiation.wants:
            break
        negotiation.receive(bytes((byte,)))


def forwarded(data: bytes) -> None:
    """A CONNECT whose telemetry headers are the input: they never refuse a request."""
    for name in (b"forwarded", b"baggage", b"traceparent"):
        parse_request([(b":method", b"CONNECT"), (b":authority", b"10.0.0.2:80"), (name, data)])


def mesh(data: bytes) -> None:
    """A mesh document: either nothing of it is taken, or each bad resource is rejected alone."""
    state = parse(data, version=1)
    for workload in state.workloads.values():
        state.policies_for(workload)


def targets() -> list[Target]:
    """All of them."""
    heard = conversation()
    policies: list[dict[str, object]] = [
        {
            "name": f"p{number}",
            "namespace": "ns",
            "scope": "Namespace",
            "action": "Deny",
            "rules": [[[{field: value}]]],
        }
        for number, (field, value) in enumerate(
            {
                "notPrincipals": [{"Presence": {}}],
                "principals": [{"Prefix": "cluster.local/ns/"}],
                "sourceIps": ["10.0.0.0/8", "fd00::/8"],
                "notDestinationPorts": [8080],
                "namespaces": [{"Suffix": "s"}],
            }.items()
        )
    ]
    return [
        Target(
            name="server frames",
            corpus=[heard[Side.SERVER]],
            feed=lambda data: receive(Side.SERVER, data),
            refusals=(HboneError,),
            joints=frames,
        ),
        Target(
            name="client frames",
            corpus=[heard[Side.CLIENT]],
            feed=lambda data: receive(Side.CLIENT, data),
            refusals=(HboneError,),
            joints=frames,
        ),
        Target(
            name="authority",
            corpus=[b"10.0.0.2:80", b"[fd00::1]:15008", b"web.ns.svc.cluster.local:8080"],
            feed=parse_authority,
            refusals=(BadAuthority,),
        ),
        Target(
            name="SPIFFE id",
            corpus=[b"spiffe://cluster.local/ns/bench/sa/client", b"spiffe://td/ns/a/sa/b"],
            feed=lambda data: SpiffeId.parse(data.decode("latin-1")),
            refusals=(InvalidSpiffeId,),
        ),
        Target(
            name="forwarded",
            corpus=[
                b'for="10.0.0.1:40000";host=web.ns',
                b'for="[fd00::1]:1"',
                b"k8s.cluster.name=a,k8s.namespace.name=b",
                b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-00",
            ],
            feed=forwarded,
            refusals=(),
        ),
        Target(
            name="mesh document",
            corpus=[document("10.0.0.2", 8080, policies=policies)],
            feed=mesh,
            refusals=(MalformedDocument,),
        ),
        Target(
            name="ZDS",
            corpus=[keep("uid"), delete("uid"), snapshot_sent()],
            feed=plain_packet,
            refusals=(MalformedMessage,),
        ),
        Target(name="ZDS add", corpus=[add(POD)], feed=packet, refusals=(MalformedMessage,)),
        Target(
            name="SOCKS5",
            corpus=[
                b"\5\1\0\5\1\0\1\n\0\0\1\0\x50",
                b"\5\2\0\2\5\1\0\4" + bytes(15) + b"\1\0\x50",
                b"\5\1\0\5\1\0\3\7web.ns2\0\x50",
            ],
            feed=negotiate,
            refusals=(NotSocks,),
        ),
    ]
