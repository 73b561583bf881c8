"""What istiod is to ambient mode, as far as the data path needs it.

document: the mesh document (workloads, policies) in the shape that ztunnel reads from a file. Pure.
ca: the mesh's root and its leaves; which certificate signing requests are refused, and why.
service: the certificate service over gRPC, one socket per node.
`python3 -m harness.controlplane` serves both for one run; the root's key never leaves that process.
"""
