"""HBONE: HTTP/2 CONNECT streams on one connection, without sockets, TLS or clock.

connection: the surface; bytes in, events out, bytes out. receiver: its receiving half.
life: from open to over, a state and a table.
streams: the streams, windows and output on which both halves work. heads: HPACK and header rules.
literals: header blocks that need no HPACK table.
events: what a peer can do to us. frames: what the wire looks like. splitter: bytes to frames.
windows: flow control both ways. limits: what a peer may ask of us, and how often.
settings: what the peer announced. headers: a CONNECT's head. authority: whom it asks for.
keepalive: when to ping and when to give up. errors: who was wrong.

How the work is divided with h2 and hpack. hpack decodes header blocks and h2's rules judge the heads in
them, both only where a block is not as plain as ours are, and h2's tables name error codes and settings:
see heads. h2's connection object is not used. Of a CONNECT tunnel it would hold each stream's state a
second time, for two thirds of a stream's cost (318 us to open and end one, both sides; 89 without), and
everything that comes often or that it treats as fatal had to be kept from it: DATA and WINDOW_UPDATE
(23 us a frame, acknowledged by the frame), PING and PRIORITY (unbounded), GOAWAY (closes the connection
at once, so that nothing could drain), CONTINUATION (frames are capped, not bytes), malformed heads and
streams over the limit (kill the connection). A stream's state lives in one place, `Stream`; nothing can
drift from it.
"""
