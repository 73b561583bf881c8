"""Kernel facts, one per function: namespaces, socket options, original destinations.

namespace: a network namespace by descriptor, and sockets made inside it.
options: marks, transparency, keep-alive, each constant with the header that defines it.
sockets: listeners and outgoing sockets, with their options set; connecting.
address: addresses of sockets, which remember their hash and text.
ends: whether the other end of a connection has been closed.
original: where an intercepted connection was going.
"""

from proxy.net.namespace import Here, NamespaceError, Netns, inside
from proxy.net.original import original_destination
from proxy.net.sockets import connect, connect_socket, connect_sockets, listen, socket_in

__all__ = [
    "Here",
    "NamespaceError",
    "Netns",
    "connect",
    "connect_socket",
    "connect_sockets",
    "inside",
    "listen",
    "original_destination",
    "socket_in",
]
