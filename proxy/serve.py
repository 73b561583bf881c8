"""The running proxy: its parts put together, its start and its end."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from random import Random

from proxy.admin import addresses, control, dump, http, pages
from proxy.admin.accept import accept, tcp_listener, unix_listener
from proxy.admission import Admission
from proxy.config import Mode, Settings
from proxy.context import Context, Switches
from proxy.identity.authority import AuthorityFailed, GrpcAuthority
from proxy.identity.identities import Identities
from proxy.inpod.api import PodInfo, PodListeners
from proxy.inpod.client import ZdsClient
from proxy.inpod.pods import Pods, Refused
from proxy.inpod.protocol import Add, SnapshotSent
from proxy.net import Here, kernel_has_ipv6
from proxy.state.store import FileSource, MeshStore
from proxy.tasks import Supervisor, Tasks
from proxy.telemetry import Stats, Telemetry, logs, metrics
from proxy.telemetry.exposition import Family
from proxy.telemetry.stalls import StallWatch
from proxy.version import VERSION

log = logging.getLogger("proxy")

SWITCH_S = 0.0001
"""How long a thread that computes may keep the interpreter from the one that carries traffic: a large mesh
document is read and compiled beside it. Python's default is 5 ms, many times what a request takes."""

Serve = Callable[[socket.socket], Awaitable[None]]


async def serve(settings: Settings, listeners: Callable[[Context], PodListeners], *, loop_name: str) -> int:
    """Serve until a signal or `/quitquitquit`, then drain.

    Args:
        settings: With a mesh document and a CA.
        listeners: Makes what listens inside the pods.
        loop_name: For the counters' document.

    Returns:
        0 after a drain; 1 when a port, a socket path or the CA's roots cannot be used. A second
        signal ends the process with 128 + its number.
    """
    try:
        settings = _as_the_kernel_allows(settings)
        authority = GrpcAuthority(settings)
    except (AuthorityFailed, OSError) as exc:
        log.error("cannot start error=%s", exc)  # noqa: TRY400  the message is the whole story
        return 1
    sys.setswitchinterval(SWITCH_S)
    async with authority, AsyncExitStack() as ports, asyncio.TaskGroup() as tasks:
        running = _Running(settings, authority, tasks, listeners, loop_name=loop_name)
        try:
            servers = running.servers(ports)
        except OSError as exc:
            log.error("cannot start error=%s", exc.strerror)  # noqa: TRY400  the message is the whole story
            return 1
        if settings.workload is not None and settings.mode is Mode.EXPLICIT:
            try:
                running.stand_for(settings.workload)
            except Refused as exc:
                log.error("cannot start error=%s", exc)  # noqa: TRY400  the message is the whole story
                await running.pods.drain(0)
                return 1
        await running.until_drained(servers)
    return 0


def _as_the_kernel_allows(settings: Settings) -> Settings:
    if settings.ipv6 and not kernel_has_ipv6():
        log.warning("kernel has no IPv6, listening on IPv4 alone; IPV6_ENABLED=false expects that")
        return replace(settings, ipv6=False)
    return settings


class _Running:
    """One run: everything that lives from start to end."""

    def __init__(
        self,
        settings: Settings,
        authority: GrpcAuthority,
        tasks: asyncio.TaskGroup,
        listeners: Callable[[Context], PodListeners],
        *,
        loop_name: str,
    ) -> None:
        self.settings = settings
        explicit = settings.mode is Mode.EXPLICIT
        self.agent_socket = None if explicit else settings.zds_socket
        self.has_pods = explicit or self.agent_socket is not None
        self.loop_name = loop_name
        self.stop = asyncio.Event()
        self.started = time.monotonic()
        telemetry = Telemetry(Stats())
        self.background = Supervisor(tasks, telemetry.stats)
        StallWatch(asyncio.get_running_loop(), telemetry.stats)
        self.context = Context(
            settings=settings,
            store=MeshStore(),
            identities=Identities(
                authority,
                background=self.background,
                stats=telemetry.stats,
                ttl_s=settings.certificate_ttl_s,
                wait_s=settings.readiness_wait_s,
            ),
            telemetry=telemetry,
            switches=Switches(settings.reuse, settings.same_node),
            random=Random(settings.seed),  # noqa: S311  spreads load, keeps no secret
            tasks=tasks,
            admission=Admission.of(settings),
        )
        self.pods = Pods(
            listeners(self.context),
            self.context.identities,
            tasks=Tasks(tasks),
            trust_domain=settings.trust_domain,
        )

    def stand_for(self, workload: tuple[str, str, str]) -> None:
        """Take this process for the only pod: namespace, name, service account.

        Raises:
            Refused: Its listener cannot be made.
        """
        namespace, name, service_account = workload
        pod = PodInfo(uid="explicit", namespace=namespace, name=name, service_account=service_account)
        self.pods.connected()
        self.pods.handle(Add(pod, Here()))
        self.pods.handle(SnapshotSent())

    def servers(self, ports: AsyncExitStack) -> list[tuple[str, socket.socket, Serve]]:
        """Take every port and socket that is asked for: name, listener, and who answers there.

        Args:
            ports: Closes the listeners in the end.

        Raises:
            OSError: One is taken.
        """
        settings = self.settings
        made: list[tuple[str, socket.socket, Serve]] = []

        def page(name: str, where: Iterable[str], port: int | None, handler: http.Handler) -> None:
            if port is not None:
                serve_one = http.Server(handler).serve
                made.extend(
                    (name, ports.enter_context(tcp_listener(address, port)), serve_one) for address in where
                )

        localhost = addresses.localhost(ipv6=settings.ipv6)
        page("admin", localhost, settings.admin_port, pages.admin(self.dump, self.stop, settings.log_levels))
        # On a node, scrapers and probes come from elsewhere.
        explicit = settings.mode is Mode.EXPLICIT
        anywhere = localhost if explicit else addresses.anywhere(ipv6=settings.ipv6)
        page("stats", anywhere, settings.stats_port, pages.stats(self._scrape))
        page("readiness", anywhere, settings.readiness_port, pages.readiness(self.waiting_for))
        for name, path, ops in (
            ("control", settings.control_socket, control.control_ops(self.context, self.loop_name)),
            ("bench", settings.bench_socket, control.bench_ops(self.context)),
        ):
            if path is not None:
                listener = ports.enter_context(unix_listener(path))
                made.append((name, listener, partial(control.serve, ops=ops)))
        return made

    async def until_drained(self, servers: list[tuple[str, socket.socket, Serve]]) -> None:
        """Serve, wait for the end, drain."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            _on_signal(loop, number, self._signalled)
        start = self.background.start
        background = [
            start(partial(accept, listener, serve_one), name=f"serve {name} on {_where(listener)}")
            for name, listener, serve_one in servers
        ]
        if self.settings.mesh_document is not None:
            background.append(start(partial(self._follow, self.settings.mesh_document), name="mesh document"))
        agent = []
        if self.agent_socket is not None:
            agent.append(start(partial(self._converse, self.agent_socket), name="agent"))
            agent.append(start(self.pods.run, name="pods that failed"))
        background.append(start(self._settle, name="settle"))
        log.info("started version=%s loop=%s node=%s", VERSION, self.loop_name, self.settings.node)
        await self.stop.wait()
        log.info("drain started deadline_s=%g", self.settings.drain_deadline_s)
        for task in agent:
            task.cancel()
        await asyncio.wait(agent) if agent else None
        await self.pods.drain(self.settings.drain_deadline_s)
        log.info("drain complete")
        for task in background:
            task.cancel()

    async def _follow(self, document: Path) -> None:
        """Keep to the mesh document. Started anew, it reads it anew."""
        settings = self.settings
        source = FileSource(
            document,
            poll_s=settings.mesh_poll_s,
            node=settings.node,
            aliases=settings.trust_domain_aliases,
        )
        await source.run(self.context.store)

    async def _converse(self, socket_path: Path) -> None:
        """Serve the pods that the agent names. Started anew, it connects anew; the pods are kept."""
        await ZdsClient(socket_path, self.pods).run()

    def _signalled(self, number: int) -> None:
        if not self.stop.is_set():
            self.stop.set()
            return
        # Connections have SO_LINGER 0 while they live: the kernel resets them as the process ends.
        log.warning("ended by a second signal signal=%d", number)
        logging.shutdown()
        os._exit(128 + number)

    async def _settle(self) -> None:
        """Say when the proxy is ready for the first time, and take what exists by then out of collection."""
        await self.context.store.ready(None)
        if self.has_pods:
            await self.pods.settled.wait()
        gc.collect()
        gc.freeze()
        log.info("ready seconds=%.3f", time.monotonic() - self.started)

    def waiting_for(self) -> list[str]:
        """What readiness waits for."""
        missing = []
        if self.stop.is_set():
            missing.append("the end of the drain")
        if not self.context.store.has_state:
            missing.append("mesh state")
        if self.has_pods and not self.pods.ready:
            missing.append("pods" if self.pods.attached else "the node agent")
        if self.context.identities.waiting:
            missing.append("certificates")
        return missing

    def dump(self) -> Iterator[str]:
        """What `/config_dump` shows, as it is now. Keys are not in reach of it."""
        return dump.pieces(
            dump.Snapshot(
                settings=self.settings,
                switches=asdict(self.context.switches),
                state=self.context.store.state,
                certificates=self.context.identities.describe(),
                pods=self.pods.describe(),
                live=tuple(self.context.telemetry.live),
            )
        )

    async def _scrape(self) -> Iterator[Family]:
        """What `/metrics` shows."""
        return metrics.families(await metrics.Snapshot.of(self.context.telemetry, self._gauges))

    def _gauges(self) -> dict[str, int]:
        return {
            "pyztunnel_connections_refused_total": self.context.admission.refused,
            "pyztunnel_log_lines_dropped_total": logs.dropped(),
            "pyztunnel_streams_outbound": self.context.tunnels.live,
            "workload_manager_active_proxy_count": self.pods.running,
            "workload_manager_pending_proxy_count": self.pods.pending,
            "workload_manager_proxies_started_total": self.pods.started,
            "workload_manager_proxies_stopped_total": self.pods.stopped,
        }


def _where(listener: socket.socket) -> str:
    name = listener.getsockname()
    return str(name) if isinstance(name, str) else f"{name[0]}:{name[1]}"


def _on_signal(
    loop: asyncio.AbstractEventLoop, number: signal.Signals, handler: Callable[[int], None]
) -> None:
    try:
        loop.add_signal_handler(number, handler, number)
    except NotImplementedError:  # Windows
        signal.signal(number, lambda number, _: loop.call_soon_threadsafe(handler, number))
