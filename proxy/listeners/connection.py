"""What every connection goes through, whichever listener took it: a record that is completed once."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic_ns
from types import TracebackType

from proxy.context import Context
from proxy.inpod.api import PodInfo
from proxy.listeners.dial import Dialer
from proxy.listeners.live import LiveConnections
from proxy.listeners.verdict import EXPECTED, Denied, note
from proxy.listeners.workload import OwnWorkload
from proxy.net import Here, Netns
from proxy.pool import Pool
from proxy.rbac import Facts, evaluate
from proxy.relay.stream import StreamRelay
from proxy.state.mesh import MeshState
from proxy.state.model import IPAddress, Service, Workload
from proxy.tasks import Tasks
from proxy.telemetry import ConnectionRecord


@dataclass(slots=True, kw_only=True)
class Pod:
    """One pod, as its listeners see it."""

    info: PodInfo
    dialer: Dialer
    context: Context
    pool: Pool
    tasks: Tasks
    own: OwnWorkload
    siblings: dict[tuple[str, str], Pod]
    """All pods of this node, by namespace and name; this one among them."""
    live: LiveConnections = field(default_factory=LiveConnections)


def served_pod(
    context: Context, info: PodInfo, netns: Netns | Here, *, siblings: dict[tuple[str, str], Pod]
) -> Pod:
    """A pod that is about to be served, with a pool and tasks of its own."""
    settings = context.settings
    return Pod(
        info=info,
        dialer=Dialer(netns, settings),
        context=context,
        pool=Pool(max_streams=settings.max_streams, idle_s=settings.tunnel_idle_s, stats=context.stats),
        tasks=Tasks(context.tasks),
        own=OwnWorkload(context.store, info, node=settings.node, wait_s=settings.readiness_wait_s),
        siblings=siblings,
    )


class recorded:  # noqa: N801  a verb, as contextlib's own
    """Complete the record at the end of the block, whatever ends it.

    What is expected to happen to connections ends here; everything else is a bug and goes on.
    """

    __slots__ = ("_context", "_record")

    def __init__(self, context: Context, record: ConnectionRecord) -> None:
        self._context = context
        self._record = record

    def __enter__(self) -> None:
        """Nothing is done before."""

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Whether what was raised is now told by the record alone."""
        record = self._record
        if isinstance(exc, EXPECTED):
            note(record, exc)
        elif exc is not None:
            record.error = record.error or (repr(exc) if isinstance(exc, Exception) else "closed by drain")
            record.failed = True
        self._context.telemetry.complete(record)
        return isinstance(exc, EXPECTED)


def assert_allowed(
    context: Context, state: MeshState, workload: Workload, facts: Facts, record: ConnectionRecord
) -> None:
    """Judge a connection to one of our pods, and note who decided.

    Raises:
        Denied: None does, or one forbids it.
    """
    context.stats.policy_evaluations += 1
    decision = evaluate(state.policies_for(workload), facts)
    record.policy, record.dry_run = decision.policy, decision.dry_run
    record.phases.policy_ns = monotonic_ns()
    if not decision.allowed:
        raise Denied(decision)


class StreamCarrier:
    """A tunnel's relay as a record reads it: what is sent comes from the side that opened the connection."""

    __slots__ = ("_by_app", "_relay")

    def __init__(self, relay: StreamRelay, *, opened_by_app: bool) -> None:
        self._relay = relay
        self._by_app = opened_by_app

    @property
    def sent(self) -> int:
        """As of any carrier; likewise the rest."""
        return self._relay.uploaded if self._by_app else self._relay.downloaded

    @property
    def received(self) -> int:
        """To the opener."""
        return self._relay.downloaded if self._by_app else self._relay.uploaded

    @property
    def first_sent_ns(self) -> int | None:
        """From the opener."""
        return self._relay.first_uploaded_ns if self._by_app else self._relay.first_downloaded_ns

    @property
    def first_received_ns(self) -> int | None:
        """To the opener."""
        return self._relay.first_downloaded_ns if self._by_app else self._relay.first_uploaded_ns


def source_of(state: MeshState, workload: Workload, address: IPAddress) -> Workload | None:
    """Who has an address, for telemetry alone: it proves nothing."""
    return state.workload_at(address, workload.network)


def service_of(
    state: MeshState, workload: Workload, port: int, *, named: str | None = None
) -> Service | None:
    """The service that a connection to one of our pods was for, as far as can be told: for telemetry alone.

    Args:
        state: The mesh.
        workload: The pod's.
        port: The pod's port.
        named: What the source's proxy says; taken only for a service of this workload.

    Source: ztunnel src/proxy.rs, guess_inbound_service.
    """
    services = [state.services[key] for key in workload.services if key in state.services]
    for service in services:
        if service.hostname == named:
            return service
    for service in services:
        own = workload.services[service.key]
        if any(port in (target, own.get(outside)) for outside, target in service.ports.items()):
            return service
    return None
