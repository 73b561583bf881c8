"""Settings as the tunnels take them."""

from __future__ import annotations

from dataclasses import replace

from proxy.config import Settings
from proxy.hbone.limits import CLIENT_LIMITS, SERVER_LIMITS, Limits
from proxy.tunnel.tunnel import Timing


def client_limits(settings: Settings) -> Limits:
    """Of tunnels that we open."""
    return _sized(CLIENT_LIMITS, settings)


def server_limits(settings: Settings) -> Limits:
    """Of tunnels that peers open."""
    return _sized(SERVER_LIMITS, settings)


def _sized(limits: Limits, settings: Settings) -> Limits:
    return replace(
        limits,
        stream_window=settings.stream_window_bytes,
        connection_window=settings.connection_window_bytes,
        max_frame=settings.frame_bytes,
    )


def timing(settings: Settings) -> Timing:
    """Of either."""
    return Timing(
        handshake_s=settings.handshake_timeout_s,
        answer_s=settings.answer_timeout_s,
        ping_interval_s=settings.ping_interval_s,
        ping_timeout_s=settings.ping_timeout_s,
    )
