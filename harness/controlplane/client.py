"""A leaf from a node's certificate authority, for data planes that cannot ask for one themselves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from harness.controlplane.ca import DEFAULT_CAP_S
from harness.controlplane.service import IMPERSONATED, METHOD
from proxy.proto import ca_pb2

TIMEOUT_S = 10.0
"""For the authority to listen and to answer; it starts beside whoever asks."""


class NoLeaf(Exception):
    """The authority did not sign; the message says where it was asked for what, and what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A signed identity with its key; all PEM."""

    key: str
    chain: str
    """Leaf first, the root left out."""
    root: str


def leaf(socket: Path, identity: str) -> Leaf:
    """A leaf for `identity` with a key made here.

    Raises:
        NoLeaf: Nobody answered at the socket, or the request was refused.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)]), critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.PEM)
        .decode()
    )
    message = ca_pb2.IstioCertificateRequest(csr=request, validity_duration=DEFAULT_CAP_S)
    message.metadata.fields[IMPERSONATED].string_value = identity
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        call = channel.unary_unary(
            METHOD,
            request_serializer=ca_pb2.IstioCertificateRequest.SerializeToString,
            response_deserializer=ca_pb2.IstioCertificateResponse.FromString,
        )
        try:
            answer = call(message, timeout=TIMEOUT_S, wait_for_ready=True)
        except grpc.RpcError as exc:
            raise NoLeaf(
                f"certificate for {identity} from {socket}: {exc.code().name}: {exc.details()}"
            ) from exc
    *chain, root = answer.cert_chain
    return Leaf(
        key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        chain="".join(chain),
        root=root,
    )
