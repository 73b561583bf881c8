"""What listens inside a pod: accept, original destination, route, policy, relay, record once.

pod: one pod's three listeners, their start, drain and end. acceptor: sockets to tasks.
outbound: what the pod's apps open (15001). inbound: HBONE from other proxies (15008).
passthrough: plaintext from outside the mesh (15006).
local: one pod of this node to another without a tunnel. dial: connecting, with the reason when it fails.
live: inbound connections that a change of policy may cut. verdict: an error as the record tells it.
connection: what every accepted socket goes through. workload: the pod's own workload.
"""
