"""Who is who: SPIFFE ids, certificates and their life cycle, TLS contexts, peer verification.

spiffe: the id, and its only spelling.
certificate: a private key with its chain, checked against what was asked for.
chain: the way from a leaf to a root, out of what an authority answered.
authority: the certificate authority, over gRPC.
turns: whose call to it is next.
identities: certificates of this node's workloads, fetched once for many, renewed at half life.
contexts: TLS 1.3 contexts made of them.
peer: what a peer's certificate proves.
"""
