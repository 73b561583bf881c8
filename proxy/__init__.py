"""A node proxy for ambient mode's data path: what ztunnel does on the wire, in Python.

It runs alone and imports nothing of `harness`. Its folders, by subject:

hbone: HTTP/2 CONNECT on h2, without sockets, TLS or clock.
tunnel and pool: an HBONE connection over mutual TLS, and which one a new connection may use.
routing, rbac, state: what the mesh looks like, where a connection goes, whether it may.
identity: SPIFFE ids, certificates and their life cycle, TLS contexts, peer verification.
listeners: accept, original destination, route, policy, relay, record once.
explicit: SOCKS5 in place of capture, for one workload, without root and without Linux.
relay: the byte path.
inpod: entering pods' network namespaces, as told by the node agent over ZDS.
net: socket options and original destinations, one kernel fact per function.
background: computing in a thread that leaves the interpreter to the traffic.
telemetry, admin: metrics, access log, phases; readiness, metrics, control.
proto: the wire messages shared with the agent (ZDS) and the certificate authority.
"""
