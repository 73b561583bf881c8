"""The byte path: from one end of a connection to the other, without a task or object per chunk.

endpoint: a TCP socket as one end of a relay: readiness callbacks, a bounded queue, ends and resets.
copy: socket to socket. splice: the same through pipes in the kernel. plain: which of the two.
stream: socket to a stream of a tunnel.
outcome: how a relay ended. buffers: the memory that all relays of a loop read into.

An end is only ever made from an end (FIN or END_STREAM on the other side). Whatever else happens,
the death of this process included, both sides see a reset: that is what SO_LINGER (1, 0) on every
relayed socket is for, switched off for the moment in which a finished one is closed.
"""
