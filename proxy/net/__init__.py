"""Kernel facts, one per function: namespaces, socket options, original destinations.

namespace: a network namespace by descriptor, and sockets made inside it.
options: marks, transparency, keep-alive, each constant with the header that defines it.
sockets: listeners and outgoing sockets, with their options set; connecting.
accepting: the loop that takes connections from a listener.
address: addresses of sockets, which remember their hash and text.
resets: hears of a socket's reset, whether it is read or not.
ends: whether the other end of a connection has been closed.
original: where an intercepted connection was going, and whether an address is the namespace's own.
"""

from proxy.net.namespace import Here, NamespaceError, Netns, inside
from proxy.net.original import is_local, original_destination
from proxy.net.sockets import connect, connect_sockets, kernel_has_ipv6, listen, socket_in

__all__ = [
    "Here",
    "NamespaceError",
    "Netns",
    "connect",
    "connect_sockets",
    "inside",
    "is_local",
    "kernel_has_ipv6",
    "listen",
    "original_destination",
    "socket_in",
]
