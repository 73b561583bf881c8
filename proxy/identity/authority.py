"""The certificate authority: Istio's certificate service, over gRPC.

No generated stubs: one method, whose path and messages are fixed by the protocol.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

import grpc
import grpc.aio
from cryptography import x509
from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Struct

from proxy.config import Settings
from proxy.environment import Secret
from proxy.identity.certificate import MAX_BYTES
from proxy.identity.spiffe import SpiffeId
from proxy.proto.ca_pb2 import IstioCertificateRequest, IstioCertificateResponse

log = logging.getLogger("proxy.identity")

METHOD = "/istio.v1.auth.IstioCertificateService/CreateCertificate"
TIMEOUT_S = 10.0
"""For one call, connecting included."""
_TOKEN = re.compile(rb"[!-~]+")
"""What fits into a header; a JWT always does."""


class AuthorityFailed(Exception):
    """The authority refused, did not answer, or cannot be asked."""


class Authority(Protocol):
    """Who signs."""

    async def sign(self, identity: SpiffeId, csr_pem: str, ttl_s: float) -> Sequence[str]:
        """The chain for a request; AuthorityFailed where there is none."""


class GrpcAuthority:
    """The authority behind CA_ADDRESS. An async context: the channel is closed at its end."""

    def __init__(self, settings: Settings) -> None:
        """Prepare the channel; nothing is connected yet.

        Raises:
            AuthorityFailed: No address, or roots that cannot be read.
        """
        self.address = settings.ca_address
        self._settings = settings
        self._trouble: str | None = None
        if not self.address.startswith(("unix:///", "https://")):
            raise AuthorityFailed("CA_ADDRESS is not set: expected unix:///path or https://host:port")
        self._channel = _Channel(settings, self._roots())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.retire()

    async def sign(self, identity: SpiffeId, csr_pem: str, ttl_s: float) -> Sequence[str]:
        """Ask once.

        Raises:
            AuthorityFailed: With the authority's own code and words.
        """
        impersonated = Struct()
        impersonated.update({"ImpersonatedIdentity": str(identity)})
        request = IstioCertificateRequest(csr=csr_pem, validity_duration=int(ttl_s), metadata=impersonated)
        await self._follow_roots()
        try:
            answer = await self._channel.create(request, metadata=self._metadata())
            return list(IstioCertificateResponse.FromString(answer).cert_chain)
        except grpc.aio.AioRpcError as exc:
            words = f"{exc.code().name}: {exc.details()}"
            raise AuthorityFailed(f"CA {self.address} for {identity}: {words}") from exc
        except DecodeError as exc:
            words = f"{len(answer)} bytes that are no certificate response"
            raise AuthorityFailed(f"CA {self.address} for {identity}: answered with {words}") from exc

    async def _follow_roots(self) -> None:
        """Connect anew where CA_ROOT_CA has changed. While it cannot be used, what it said before holds."""
        try:
            roots = self._roots()
        except AuthorityFailed as exc:
            if str(exc) != self._trouble:
                self._trouble = str(exc)
                log.warning("roots of the CA not read anew, those before are kept error=%s", exc)
            return
        self._trouble = None
        if roots != self._channel.roots:
            before, self._channel = self._channel, _Channel(self._settings, roots)
            log.info("roots of the CA changed, connecting anew address=%s", self.address)
            await before.retire()

    def _roots(self) -> bytes | None:
        """What the authority's own certificate must end in; None: the system's, or a unix socket."""
        path = self._settings.ca_root
        if not self.address.startswith("https://") or path is None or str(path) == "SYSTEM":
            return None
        try:
            roots = path.read_bytes()
            x509.load_pem_x509_certificates(roots)
        except OSError as exc:
            raise AuthorityFailed(f"CA_ROOT_CA={path}: {exc.strerror}; give a PEM file, or SYSTEM") from exc
        except (ValueError, x509.InvalidVersion) as exc:
            raise AuthorityFailed(f"CA_ROOT_CA={path}: {exc}; give a PEM file, or SYSTEM") from exc
        return roots

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        """CA_HEADER_*; and with a bearer token, the cluster whose token that is."""
        headers = {name: value.text for name, value in self._settings.ca_headers}
        token = self._token()
        if token is not None:
            headers |= {"authorization": f"Bearer {token}", "clusterid": self._settings.cluster}
        return tuple(headers.items())

    def _token(self) -> str | None:
        """The bearer token, read anew as it is rotated on disk; without a file, none."""
        source = self._settings.ca_token
        if source is None:
            return None
        try:
            token = source.text.encode() if isinstance(source, Secret) else source.read_bytes().strip()
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise AuthorityFailed(f"AUTH_TOKEN={source}: {exc.strerror}") from exc
        if not _TOKEN.fullmatch(token):
            raise AuthorityFailed(f"AUTH_TOKEN={source}: expected one line of printable ASCII")
        return token.decode()


class _Channel:
    """A connection to the authority that trusts these roots, closed after its last call."""

    def __init__(self, settings: Settings, roots: bytes | None) -> None:
        self.roots = roots
        self._calls = 0
        self._retired = False
        options: list[tuple[str, object]] = [
            ("grpc.max_receive_message_length", 2 * MAX_BYTES),
            ("grpc.enable_http_proxy", 0),
            # Backing off is done per identity; the channel's own, of up to 2 min, would come on top.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]
        if settings.ca_address.startswith("unix:"):
            # A unix socket's peer is known by the file system; the CA signs by socket.
            self._channel = grpc.aio.insecure_channel(settings.ca_address, options)
        else:
            if settings.ca_hostname:
                options.append(("grpc.ssl_target_name_override", settings.ca_hostname))
            target = settings.ca_address.removeprefix("https://").rstrip("/")
            self._channel = grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(roots), options)
        self._create = self._channel.unary_unary(
            METHOD, request_serializer=IstioCertificateRequest.SerializeToString
        )

    async def create(
        self, request: IstioCertificateRequest, *, metadata: tuple[tuple[str, str], ...]
    ) -> bytes:
        """One call; the answer as it is on the wire."""
        self._calls += 1
        try:
            answer: bytes = await self._create(request, timeout=TIMEOUT_S, metadata=metadata)
            return answer
        finally:
            self._calls -= 1
            await self._close_if_done()

    async def retire(self) -> None:
        """Be closed when no call is under way any more: closing would cancel it."""
        self._retired = True
        await self._close_if_done()

    async def _close_if_done(self) -> None:
        if self._retired and not self._calls:
            await self._channel.close()
