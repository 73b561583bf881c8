"""Istio's certificate service over gRPC, for one proxy each.

Who may ask for what is decided by where the question comes in: each node has a unix socket for each lane,
which only that lane's proxy there can reach, and which signs only for the lane's pods on the node.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

from harness.controlplane.ca import Authority, Reason, Refusal
from proxy.proto import ca_pb2

log = logging.getLogger("harness.controlplane")

SERVICE = "istio.v1.auth.IstioCertificateService"
METHOD = f"/{SERVICE}/CreateCertificate"
IMPERSONATED = "ImpersonatedIdentity"
"""Key in the request's metadata under which a proxy names the workload it asks for (ztunnel caclient.rs)."""
MAX_MESSAGE_BYTES = 64 * 1024
"""A request holds one signing request; gRPC's own limit of 4 MiB would only help an attacker."""
WORKERS = 2
"""Threads per node: signing takes well under 1 ms, a second one keeps a slow peer from blocking others."""


class NodeService:
    """`CreateCertificate` for the identities of one node's pods."""

    def __init__(self, authority: Authority, node: str, identities: frozenset[str]) -> None:
        self._authority = authority
        self._node = node
        self._identities = identities

    def create(
        self, request: ca_pb2.IstioCertificateRequest, context: grpc.ServicerContext
    ) -> ca_pb2.IstioCertificateResponse:
        """Answer one call; a refusal becomes a gRPC status with its reason."""
        try:
            issued = self._authority.sign(
                request.csr, _identity(request), request.validity_duration, allowed=self._identities
            )
        except Refusal as exc:
            log.warning("certificate refused node=%s reason=%s detail=%s", self._node, exc.reason, exc)
            context.abort(_status(exc.reason), f"{exc.reason}: {exc}")
            raise
        log.info(
            "certificate issued node=%s identity=%s serial=%x not_after=%s",
            self._node,
            issued.identity,
            issued.serial,
            issued.not_after.isoformat(),
        )
        return ca_pb2.IstioCertificateResponse(cert_chain=issued.chain)


def server(service: NodeService) -> grpc.Server:
    """A gRPC server of one node, not yet bound: add `bind_unix` (or a TLS port) and start it."""
    handler = grpc.unary_unary_rpc_method_handler(
        service.create,
        request_deserializer=ca_pb2.IstioCertificateRequest.FromString,
        response_serializer=ca_pb2.IstioCertificateResponse.SerializeToString,
    )
    built = grpc.server(
        ThreadPoolExecutor(max_workers=WORKERS, thread_name_prefix="ca"),
        options=[("grpc.max_receive_message_length", MAX_MESSAGE_BYTES), ("grpc.so_reuseport", 0)],
    )
    built.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICE, {"CreateCertificate": handler}),)
    )
    return built


def bind_unix(built: grpc.Server, path: Path) -> None:
    """Listen at a unix socket, made anew.

    Raises:
        OSError: The socket cannot be made; gRPC says no more than that.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    try:
        built.add_insecure_port(f"unix:{path}")
    except RuntimeError as exc:
        raise OSError(f"listen at {path}: {exc}; unix socket paths have at most 107 bytes") from exc


def _identity(request: ca_pb2.IstioCertificateRequest) -> str:
    value = request.metadata.fields.get(IMPERSONATED)
    return value.string_value if value is not None else ""


def _status(reason: Reason) -> grpc.StatusCode:
    if reason is Reason.IDENTITY:
        return grpc.StatusCode.PERMISSION_DENIED
    return grpc.StatusCode.INVALID_ARGUMENT
