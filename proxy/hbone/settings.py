"""What the peer announced in SETTINGS, checked and bounded. RFC 9113 section 6.5."""

from __future__ import annotations

from dataclasses import dataclass

from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from proxy.hbone.errors import Flood, RemoteProtocolError
from proxy.hbone.frames import DEFAULT_MAX_FRAME, DEFAULT_WINDOW, MAX_MAX_FRAME, MAX_WINDOW, parse_settings
from proxy.hbone.limits import Limits

ASSUMED_STREAMS = 100
"""Streams that we allow ourselves while the peer has not said. RFC 9113 6.5.2 recommends no less."""


@dataclass(slots=True)
class PeerSettings:
    """The peer's settings that concern us."""

    initial_window: int = DEFAULT_WINDOW
    max_frame: int = DEFAULT_MAX_FRAME
    max_streams: int = ASSUMED_STREAMS
    received: bool = False

    def apply(self, payload: bytes, limits: Limits, *, of_server: bool) -> int:
        """Take a SETTINGS payload, of a server or of a client.

        Returns:
            By how much every stream's send window changes.

        Raises:
            RemoteProtocolError: A value that the RFC forbids, or too many.
        """
        if len(payload) % 6:
            raise RemoteProtocolError(f"SETTINGS of {len(payload)} bytes", ErrorCodes.FRAME_SIZE_ERROR)
        if len(payload) // 6 > limits.settings_entries:
            raise Flood("SETTINGS entries")
        before = self.initial_window
        if not self.received:
            # RFC 9113 6.5.2: without an entry there is no limit.
            self.max_streams, self.received = MAX_WINDOW, True
        for key, value in parse_settings(payload):
            _check(key, value, of_server=of_server)
            match key:
                case SettingCodes.INITIAL_WINDOW_SIZE:
                    self.initial_window = value
                case SettingCodes.MAX_FRAME_SIZE:
                    self.max_frame = value
                case SettingCodes.MAX_CONCURRENT_STREAMS:
                    self.max_streams = value
        return self.initial_window - before


def _check(key: int, value: int, *, of_server: bool) -> None:
    """Refuse what RFC 9113 6.5.2 and RFC 8441 3 forbid; unknown settings mean nothing."""
    if key == SettingCodes.INITIAL_WINDOW_SIZE and value > MAX_WINDOW:
        raise RemoteProtocolError(f"initial window of {value}", ErrorCodes.FLOW_CONTROL_ERROR)
    if key == SettingCodes.MAX_FRAME_SIZE and not DEFAULT_MAX_FRAME <= value <= MAX_MAX_FRAME:
        raise RemoteProtocolError(f"maximum frame of {value}")
    if key == SettingCodes.ENABLE_PUSH and value and of_server:
        raise RemoteProtocolError(f"ENABLE_PUSH of {value} from a server")
    if key in (SettingCodes.ENABLE_PUSH, SettingCodes.ENABLE_CONNECT_PROTOCOL) and value not in (0, 1):
        raise RemoteProtocolError(f"setting {key} of {value}")
