"""`PROXY_MODE=explicit`: apps that ask for the mesh by SOCKS5 instead of being captured.

For platforms without iptables, and for people without root. Routing, policy, identity and tunnels are
the other listeners'; this package knows whom a client asks for, and nothing else.

socks: the server's side of SOCKS5, without sockets. names: which address a name stands for.
listener: accept, ask, answer, and hand over to `listeners.outbound`.
"""
