"""Distance between the nodes: every frame on the underlay waits for half a round trip, both ways.

line: the delay line of the underlay, laid only where a round trip is asked for; otherwise frames go the
kernel's own way and nothing of this exists. netem: the line as the kernel's queueing discipline. lanes,
forwarder: the same for kernels without it, a process that carries frames from port to port; waiting is
its queue, board what it and the agent both see. trips: round trips across the line, as the measure of it.

A rate limit (tbf) is no delay: it passes idle packets at once. A TCP proxy is none either: it answers
SYNs itself, and a connection through it pays no round trip of the path's.
"""
