"""A certificate authority for tests: issues what is asked for, or anything else on demand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from proxy.identity.authority import METHOD
from proxy.identity.certificate import Certificate, Request
from proxy.identity.spiffe import SpiffeId
from proxy.proto.ca_pb2 import IstioCertificateRequest, IstioCertificateResponse

CLIENT = SpiffeId("cluster.local", "bench", "client")
SERVER = SpiffeId("cluster.local", "bench", "server")


def pem(certificate: x509.Certificate) -> str:
    """A certificate as text."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


USAGES = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


class Ca:
    """A root, or with `under` an intermediate of another; and leaves under it."""

    def __init__(
        self,
        name: str = "root",
        *,
        under: Ca | None = None,
        life: timedelta = timedelta(days=3650),
        ca: bool = True,
    ) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = under or self
        starts = min(timedelta(minutes=-2), 2 * life)
        self.root = issuer._build(self._name, self.key.public_key(), abs(life), starts=starts, ca=ca)
        self.issued = 0

    def crossed(self, other: Ca) -> x509.Certificate:
        """Its certificate as another signs it."""
        return other._build(self._name, self.key.public_key(), timedelta(days=3650), ca=True)

    def leaf(
        self,
        public_key: CertificateIssuerPublicKeyTypes,
        names: Sequence[x509.GeneralName],
        *,
        life: timedelta = timedelta(hours=24),
        starts: timedelta = timedelta(minutes=-2),
        usages: Sequence[x509.ObjectIdentifier] = USAGES,
        ca: bool = False,
    ) -> x509.Certificate:
        """A certificate with exactly these alternative names, for these usages."""
        self.issued += 1
        return self._build(x509.Name([]), public_key, life, names=names, starts=starts, usages=usages, ca=ca)

    def answer(
        self,
        csr_pem: str,
        *,
        life: timedelta = timedelta(hours=24),
        starts: timedelta = timedelta(minutes=-2),
    ) -> list[str]:
        """What a CA answers: the leaf with the request's own names, and the root."""
        request = x509.load_pem_x509_csr(csr_pem.encode())
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        key = request.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        return [pem(self.leaf(key, list(names), life=life, starts=starts)), pem(self.root)]

    def certificate(self, identity: SpiffeId) -> Certificate:
        """A workload's certificate, ready for a TLS context."""
        request = Request(identity)
        return request.accept(self.answer(request.csr_pem), now=datetime.now(UTC).timestamp())

    def server_credentials(self) -> grpc.ServerCredentials:
        """For a gRPC server that calls itself istiod."""
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = self.leaf(key.public_key(), [x509.DNSName("istiod.istio-system.svc")])
        plain = serialization.NoEncryption()
        text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        return grpc.ssl_server_credentials([(text, pem(leaf).encode())])

    def _build(
        self,
        subject: x509.Name,
        public_key: CertificateIssuerPublicKeyTypes,
        life: timedelta,
        *,
        names: Sequence[x509.GeneralName] = (),
        starts: timedelta = timedelta(minutes=-2),
        usages: Sequence[x509.ObjectIdentifier] = USAGES,
        ca: bool,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + starts)
            .not_valid_after(now + starts + life)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        return builder.sign(self.key, hashes.SHA256())


Answer = Callable[[IstioCertificateRequest], Sequence[str] | bytes]
"""A chain, or the very bytes of a message."""


@dataclass(slots=True)
class Calls:
    """What the service has been asked, with each call's metadata, and where it listens if on TCP.

    Answers wait for the gate, which is open.
    """

    had: list[tuple[IstioCertificateRequest, dict[str, str]]] = field(default_factory=list)
    port: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def grpc_ca(path: Path | None, answer: Answer, *, tls: Ca | None = None) -> AsyncIterator[Calls]:
    """The certificate service: on a unix socket, or on localhost with a certificate of `tls` for istiod."""
    calls = Calls()
    calls.gate.set()

    async def create(request: IstioCertificateRequest, context: grpc.aio.ServicerContext) -> bytes:
        metadata = context.invocation_metadata() or ()
        calls.had.append((request, {str(name): str(value) for name, value in metadata}))
        await calls.gate.wait()
        try:
            found = answer(request)
        except PermissionError as exc:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(exc))
            raise
        if isinstance(found, bytes):
            return found
        return IstioCertificateResponse(cert_chain=found).SerializeToString()

    service, _, method = METHOD.lstrip("/").partition("/")
    handler = grpc.unary_unary_rpc_method_handler(
        create,
        request_deserializer=IstioCertificateRequest.FromString,
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    if path is not None:
        server.add_insecure_port(f"unix://{path}")
    if tls is not None:
        calls.port = server.add_secure_port("localhost:0", tls.server_credentials())
    await server.start()
    try:
        yield calls
    finally:
        await asyncio.shield(server.stop(None))
