"""The certificate authority: Istio's certificate service, over gRPC.

No generated stubs: one method, whose path and messages are fixed by the protocol.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Struct

from proxy.config import Settings
from proxy.identity.certificate import MAX_BYTES
from proxy.identity.spiffe import SpiffeId
from proxy.proto.ca_pb2 import IstioCertificateRequest, IstioCertificateResponse

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
        self._token = settings.ca_token
        options: list[tuple[str, object]] = [
            ("grpc.max_receive_message_length", 2 * MAX_BYTES),
            ("grpc.enable_http_proxy", 0),
            # Backing off is done per identity; the channel's own, of up to 2 min, would come on top.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]
        if self.address.startswith("unix:///"):
            # A unix socket's peer is known by the file system; the CA signs by socket.
            self._channel = grpc.aio.insecure_channel(self.address, options)
        elif self.address.startswith("https://"):
            if settings.ca_hostname:
                options.append(("grpc.ssl_target_name_override", settings.ca_hostname))
            credentials = grpc.ssl_channel_credentials(_roots(settings.ca_root))
            target = self.address.removeprefix("https://").rstrip("/")
            self._channel = grpc.aio.secure_channel(target, credentials, options)
        else:
            raise AuthorityFailed("CA_ADDRESS is not set: expected unix:///path or https://host:port")
        self._create = self._channel.unary_unary(
            METHOD,
            request_serializer=IstioCertificateRequest.SerializeToString,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.close()

    async def sign(self, identity: SpiffeId, csr_pem: str, ttl_s: float) -> Sequence[str]:
        """Ask once.

        Raises:
            AuthorityFailed: With the authority's own code and words.
        """
        impersonated = Struct()
        impersonated.update({"ImpersonatedIdentity": str(identity)})
        request = IstioCertificateRequest(csr=csr_pem, validity_duration=int(ttl_s), metadata=impersonated)
        try:
            answer = await self._create(request, timeout=TIMEOUT_S, metadata=self._metadata())
            return list(IstioCertificateResponse.FromString(answer).cert_chain)
        except grpc.aio.AioRpcError as exc:
            words = f"{exc.code().name}: {exc.details()}"
            raise AuthorityFailed(f"CA {self.address} for {identity}: {words}") from exc
        except DecodeError as exc:
            words = f"{len(answer)} bytes that are no certificate response"
            raise AuthorityFailed(f"CA {self.address} for {identity}: answered with {words}") from exc

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        """The bearer token, read anew for each call as it is rotated on disk; without a file, none."""
        if self._token is None:
            return ()
        try:
            token = self._token.read_bytes().strip()
        except FileNotFoundError:
            return ()
        except OSError as exc:
            raise AuthorityFailed(f"AUTH_TOKEN={self._token}: {exc.strerror}") from exc
        if not _TOKEN.fullmatch(token):
            raise AuthorityFailed(f"AUTH_TOKEN={self._token}: expected one line of printable ASCII")
        return (("authorization", f"Bearer {token.decode()}"),)


def _roots(path: Path | None) -> bytes | None:
    """The roots in CA_ROOT_CA, or the system's where that says SYSTEM."""
    if path is None or str(path) == "SYSTEM":
        return None
    try:
        return path.read_bytes()
    except OSError as exc:
        raise AuthorityFailed(f"CA_ROOT_CA={path}: {exc.strerror}; give a PEM file, or SYSTEM") from exc
