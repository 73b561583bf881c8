"""HBONE: HTTP/2 CONNECT streams on one connection, without sockets, TLS or clock.

connection: the surface; bytes in, events out, bytes out. receiver: its receiving half.
streams: the streams, windows and output on which both halves work. core: h2, and what it is told.
events: what a peer can do to us. frames: what the wire looks like. splitter: bytes to frames.
windows: flow control both ways. limits: what a peer may ask of us, and how often.
settings: what the peer announced. headers: a CONNECT's head. authority: whom it asks for.
keepalive: when to ping and when to give up. errors: who was wrong.

How the work is divided with h2. h2 holds every stream's state, HPACK and header validation; it
sees HEADERS, SETTINGS and RST_STREAM, and a stream's end as an empty DATA frame with END_STREAM.
Everything that comes often or that h2 treats as fatal is done beside it: DATA and WINDOW_UPDATE
(h2 takes 23 us a frame and acknowledges by the frame), PING and PRIORITY (unbounded in h2), GOAWAY
(h2 closes the connection at once, so that nothing could drain), CONTINUATION (h2 caps frames, not
bytes) and the refusal of streams over the limit (h2 kills the connection). As h2 never sees a byte
of payload in either direction, its own windows never move and cannot drift.
"""
