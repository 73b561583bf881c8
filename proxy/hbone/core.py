"""h2, reduced to what it does for us: stream states, HPACK, header rules. The only file that drives it.

h2 is told the truth about headers, settings and the ends of streams, and is kept from what it would
do fatally or slowly (see the package's map). Nothing private of it is touched.
"""

from __future__ import annotations

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import Event as H2Event
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hpack.exceptions import HPACKError

from proxy.hbone import frames
from proxy.hbone.errors import LocalProtocolError, RemoteProtocolError
from proxy.hbone.events import Header
from proxy.hbone.frames import FrameType
from proxy.hbone.limits import Limits
from proxy.hbone.settings import Entries


class Core:
    """One side of a connection, as h2 sees it. After a call, `take` what h2 wants sent."""

    def __init__(self, *, client: bool, limits: Limits) -> None:
        self._limits = limits
        self._client = client
        self._h2 = H2Connection(
            H2Configuration(
                client_side=client,
                header_encoding=None,
                # What we send is made by us, lower case and in order: nothing is found by checking it.
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        # As initial values they bind at once; as updates they would only bind with the peer's ACK.
        self._h2.local_settings = Settings(
            client=client,
            initial_values={
                # Our own limit is announced and enforced by Connection, by REFUSED_STREAM.
                SettingCodes.MAX_CONCURRENT_STREAMS: frames.MAX_STREAM_ID,
                SettingCodes.INITIAL_WINDOW_SIZE: limits.stream_window,
                # A joined header block is one frame here.
                SettingCodes.MAX_FRAME_SIZE: max(limits.max_frame, limits.header_list),
                SettingCodes.MAX_HEADER_LIST_SIZE: limits.header_list,
                SettingCodes.ENABLE_PUSH: 0,
            },
        )
        self._h2.max_inbound_frame_size = self._h2.local_settings.max_frame_size
        self._h2.decoder.max_header_list_size = limits.header_list

    def start(self) -> bytes:
        """Our side's opening: preface (client), SETTINGS, and the connection's window."""
        self._h2.initiate_connection()
        self._h2.clear_outbound_data_buffer()
        entries: Entries = [
            (SettingCodes.INITIAL_WINDOW_SIZE, self._limits.stream_window),
            (SettingCodes.MAX_FRAME_SIZE, self._limits.max_frame),
            (SettingCodes.MAX_HEADER_LIST_SIZE, self._limits.header_list),
        ]
        if self._client:
            entries.insert(0, (SettingCodes.ENABLE_PUSH, 0))
        else:
            entries.insert(0, (SettingCodes.MAX_CONCURRENT_STREAMS, self._limits.max_streams))
            self._h2.receive_data(frames.PREFACE)
        opening = frames.PREFACE if self._client else b""
        increment = self._limits.connection_window - frames.DEFAULT_WINDOW
        window = frames.window_update(0, increment) if increment > 0 else b""
        return opening + frames.settings(entries) + window

    # What the peer did.

    def received_settings(self, entries: Entries) -> None:
        """SETTINGS came; the answer is its acknowledgement."""
        self._feed(frames.settings(entries))

    def received_settings_ack(self) -> None:
        """Our SETTINGS were acknowledged."""
        self._feed(frames.head(0, FrameType.SETTINGS, frames.ACK, 0))

    def received_headers(self, stream_id: int, block: bytes, *, end_stream: bool) -> list[H2Event]:
        """A header block came on a new stream, or as the answer on one of ours."""
        flags = frames.END_HEADERS | (frames.END_STREAM if end_stream else 0)
        return self._feed(frames.frame(FrameType.HEADERS, flags, stream_id, block))

    def received_end(self, stream_id: int) -> None:
        """The peer ended a stream with DATA."""
        self._feed(frames.end_stream(stream_id))

    def received_reset(self, stream_id: int, code: int) -> None:
        """The peer reset a live stream."""
        self._feed(frames.rst_stream(stream_id, code))

    def decode(self, block: bytes) -> None:
        """Keep HPACK in step with a block that h2 must not see."""
        try:
            self._h2.decoder.decode(block, raw=True)
        except HPACKError as exc:
            raise RemoteProtocolError(f"header block: {exc}", ErrorCodes.COMPRESSION_ERROR) from exc

    def _feed(self, data: bytes) -> list[H2Event]:
        try:
            return self._h2.receive_data(data)
        except ProtocolError as exc:
            self._h2.clear_outbound_data_buffer()  # its GOAWAY; Connection sends ours
            raise RemoteProtocolError(f"{type(exc).__name__}: {exc}", exc.error_code) from exc

    # What we do.

    def take(self) -> bytes:
        """The bytes that h2 wants sent."""
        return self._h2.data_to_send()

    def request(self, headers: list[Header]) -> int:
        """Open a stream; its id."""
        stream_id = self._h2.get_next_available_stream_id()
        self.send_headers(stream_id, headers)
        return stream_id

    def send_headers(self, stream_id: int, headers: list[Header], *, end_stream: bool = False) -> None:
        """Send a head on a stream."""
        try:
            self._h2.send_headers(stream_id, headers, end_stream=end_stream)
        except ProtocolError as exc:
            raise LocalProtocolError(f"stream {stream_id}: {exc}") from exc

    def end(self, stream_id: int) -> None:
        """End our direction of a stream."""
        try:
            self._h2.end_stream(stream_id)
        except ProtocolError as exc:
            raise LocalProtocolError(f"stream {stream_id}: {exc}") from exc

    def reset(self, stream_id: int, code: int) -> None:
        """Reset a live stream."""
        try:
            self._h2.reset_stream(stream_id, code)
        except ProtocolError as exc:
            raise LocalProtocolError(f"stream {stream_id}: {exc}") from exc
