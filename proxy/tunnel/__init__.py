"""An HBONE connection over mutual TLS, on a socket and an event loop.

channel: TLS 1.3 over a non-blocking socket, by readiness callbacks. records: its TLS, in memory.
tunnel: what both sides share: events to streams, deadlines, keep-alive, the end.
stream: one CONNECT stream. client, server: the two sides. deadlines: what a peer must do in time.
errors: why a tunnel or a stream could not be had.
"""
