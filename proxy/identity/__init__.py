"""Who is who: SPIFFE ids, certificates and their life cycle, TLS contexts, peer verification.

spiffe: the id, and its only spelling.
certificate: a private key with its chain, checked against what was asked for.
authority: the certificate authority, over gRPC.
identities: certificates of this node's workloads, fetched once for many, renewed at half life.
contexts: TLS 1.3 contexts made of them.
peer: what a peer's certificate proves.
"""
