"""Settings as the tunnels take them."""

from __future__ import annotations

from dataclasses import replace

from proxy.config import Settings
from proxy.context import Context
from proxy.hbone.limits import CLIENT_LIMITS, SERVER_LIMITS, Limits
from proxy.tunnel.tunnel import Timing

STREAMS_IN_A_CONNECTION_WINDOW = 4
"""A connection's window per stream's, where a switch sets the latter: as in ztunnel's defaults."""


def client_limits(context: Context) -> Limits:
    """Of a tunnel that we open now."""
    return _sized(CLIENT_LIMITS, context)


def server_limits(context: Context) -> Limits:
    """Of a tunnel that a peer opens now."""
    return _sized(SERVER_LIMITS, context)


def _sized(limits: Limits, context: Context) -> Limits:
    settings, window = context.settings, context.switches.window_bytes
    return replace(
        limits,
        stream_window=window or settings.stream_window_bytes,
        connection_window=(
            window * STREAMS_IN_A_CONNECTION_WINDOW if window else settings.connection_window_bytes
        ),
        max_frame=settings.frame_bytes,
    )


def timing(settings: Settings) -> Timing:
    """Of either."""
    return Timing(
        handshake_s=settings.handshake_timeout_s,
        answer_s=settings.answer_timeout_s,
        linger_s=settings.drain_deadline_s,
        ping_interval_s=settings.ping_interval_s,
        ping_timeout_s=settings.ping_timeout_s,
    )
