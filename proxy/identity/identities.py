"""Certificates of this node's workloads: fetched once for many callers, renewed at half life."""

from __future__ import annotations

import ssl

from proxy.identity.spiffe import SpiffeId


class IdentityUnavailable(Exception):
    """There is no valid certificate for an identity now; the message says why and since when."""


class Identities:
    """TLS contexts by identity. A context stays the same object until its certificate is renewed."""

    async def client_context(self, source: SpiffeId) -> ssl.SSLContext:
        """The context with which `source` opens tunnels; waits for its first certificate.

        Raises:
            IdentityUnavailable: No pod of this node has that identity, or the CA has failed and
                no certificate is left that is valid.
        """
        raise NotImplementedError

    async def server_context(self, workload: SpiffeId) -> ssl.SSLContext:
        """The context with which `workload`'s tunnels are accepted; see `client_context`."""
        raise NotImplementedError
