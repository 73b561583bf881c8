"""SPIFFE ids as Istio forms them: `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Self

MAX_BYTES = 2048
"""Longest id accepted. SPIFFE-ID section 2.3."""

_TRUST_DOMAIN = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,253}[a-z0-9])?", re.ASCII)
"""Lower case only: SPIFFE-ID section 2.1 forbids the rest, and two spellings of one domain would be two."""

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?", re.ASCII)
"""A DNS subdomain (RFC 1123), which is what Kubernetes allows for both names."""


class InvalidSpiffeId(ValueError):
    """A text is no id of the form that Istio issues; the message says which part is wrong."""


def is_trust_domain(text: str) -> bool:
    """Whether an identity can be of that trust domain."""
    return _TRUST_DOMAIN.fullmatch(text) is not None


def is_name(text: str) -> bool:
    """Whether an identity can have that namespace or service account."""
    return _NAME.fullmatch(text) is not None and ".." not in text


@dataclass(frozen=True, slots=True)
class SpiffeId:
    """The identity of a workload. Written back by `str`, read by `SpiffeId.parse`."""

    trust_domain: str
    namespace: str
    service_account: str
    principal: str = field(init=False, repr=False, compare=False)
    """The id as policies write it: without the scheme."""

    def __post_init__(self) -> None:
        if not is_trust_domain(self.trust_domain):
            raise InvalidSpiffeId(f"trust domain {self.trust_domain[:80]!r}: not a lower-case DNS name")
        for kind, name in (("namespace", self.namespace), ("service account", self.service_account)):
            if not is_name(name):
                raise InvalidSpiffeId(f"{kind} {name[:80]!r}: not a DNS name")
        # Written once: each connection's policies and access line ask for it.
        principal = f"{self.trust_domain}/ns/{self.namespace}/sa/{self.service_account}"
        object.__setattr__(self, "principal", principal)

    def __str__(self) -> str:
        return "spiffe://" + self.principal

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an id, strictly: one spelling per identity, nothing decoded, nothing trimmed.

        Raises:
            InvalidSpiffeId: Any other form, a longer text than 2048 bytes included.

        Source: SPIFFE-ID section 2; Istio's X.509 SANs.
        """
        if len(text) > MAX_BYTES:
            raise InvalidSpiffeId(f"id of {len(text)} characters, more than {MAX_BYTES}")
        scheme, separator, rest = text.partition("://")
        parts = rest.split("/")
        if scheme != "spiffe" or not separator or len(parts) != 5 or parts[1] != "ns" or parts[3] != "sa":
            raise InvalidSpiffeId(
                f"{text[:120]!r}: not spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT"
            )
        return cls(parts[0], parts[2], parts[4])
