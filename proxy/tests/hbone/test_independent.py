"""Our connection against h2's own, as an independent peer: both ends see the same streams and windows."""

from __future__ import annotations

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.hbone.connection import Connection, Side
from proxy.hbone.events import Data, Requested
from proxy.hbone.headers import response_headers
from proxy.tests.hbone.pair import HEADERS, packed

ACTIONS = ["connect", "answer", "send", "echo", "end", "finish", "reset", "abort"]


class Both:
    """h2 as the client, our server, and the bytes between them, delivered in portions."""

    def __init__(self, portion: int) -> None:
        self.portion = portion
        self.client = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self.server = Connection(Side.SERVER)
        self.requested: set[int] = set()
        self.received: dict[int, int] = {}
        self.client.initiate_connection()
        self.server.start()
        self.carry()

    def carry(self) -> None:
        """Until nothing is under way."""
        while (there := self.client.data_to_send()) or self.server.has_output:
            for start in range(0, len(there), self.portion):
                for event in self.server.receive(there[start : start + self.portion], 0.0):
                    if isinstance(event, Requested):
                        self.requested.add(event.stream_id)
                    elif isinstance(event, Data):
                        count = len(event.payload)
                        self.received[event.stream_id] = self.received.get(event.stream_id, 0) + count
                        self.server.credit(self.server.stream(event.stream_id), count)
            self.client.receive_data(self.server.output())

    def agree(self) -> None:
        """What each of them says of every stream that lives."""
        live = [i for i in self.requested if self.server.alive(i)]
        assert self.client.open_outbound_streams == len(live) == self.server.live
        for stream_id in live:
            stream = self.server.stream(stream_id)
            if not stream.remote_ended:
                window = min(self.server._streams.receive.available, stream.receive.available)
                assert window == self.client.local_flow_control_window(stream_id)


@settings(max_examples=100, deadline=None)
@given(
    actions=st.lists(
        st.tuples(st.sampled_from(ACTIONS), st.integers(0, 5), st.integers(1, 16_000)), max_size=60
    ),
    portion=st.sampled_from([1 << 30, 997, 1]),
)
def test_both_ends_agree_on_every_stream(actions: list[tuple[str, int, int]], portion: int) -> None:
    both = Both(portion)
    server, client = both.server, both.client
    sent: dict[int, int] = {}
    ended: set[int] = set()
    for action, index, count in actions:
        stream_id = 2 * index + 1
        if action == "connect":
            stream_id = client.get_next_available_stream_id()
            client.send_headers(stream_id, HEADERS)
        elif not server.alive(stream_id):
            continue
        else:
            stream = server.stream(stream_id)
            match action:
                case "answer" if not stream.answered:
                    server.answer(stream_id, response_headers(200))
                case "send" if stream_id not in ended:
                    length = min(count, client.local_flow_control_window(stream_id))
                    client.send_data(stream_id, bytes(length))
                    sent[stream_id] = sent.get(stream_id, 0) + length
                case "echo" if room := min(count, server.sendable(stream)):
                    client.receive_data(server.output() + packed(server, stream, bytes(room)))
                    client.acknowledge_received_data(room, stream_id)
                case "end" if stream_id not in ended:
                    client.end_stream(stream_id)
                    ended.add(stream_id)
                case "finish" if stream.answered and not stream.local_ended:
                    server.end(stream_id)
                case "reset":
                    client.reset_stream(stream_id, ErrorCodes.CANCEL)
                case "abort":
                    server.reset(stream, ErrorCodes.CONNECT_ERROR)
        both.carry()
        both.agree()

    assert sent == both.received
