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
from proxy.state.mesh import MeshState
from proxy.state.model import IPAddress, Workload
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


def source_of(state: MeshState, workload: Workload, address: IPAddress) -> Workload | None:
    """Who has an address, for telemetry alone: it proves nothing."""
    return state.workload_at(address, workload.network)
