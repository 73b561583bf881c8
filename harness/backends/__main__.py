"""Answer for one pod: `python3 -m harness.backends --pod P --node N --state-dir DIR`.

nginx runs as a child; echo, sink and source run here. When nginx ends, so does this process, with
exit code 1; SIGTERM and SIGINT end both with 0. Needs no capability and writes only to DIR.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import resource
import signal
import sys
from pathlib import Path

from harness.backends import nginx, tcp
from harness.topology.model import APP_PORT, ECHO_PORT, SINK_PORT, SOURCE_PORT

log = logging.getLogger("harness.backends")

STOP_S = 5.0
"""How long nginx may take to end by itself; it holds no state, so it takes milliseconds."""


class NginxEnded(Exception):
    """nginx ended although nobody asked it to."""


def main() -> int:
    """Run until told to end, or until nginx ends."""
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    _raise_descriptor_limit()
    code = 0
    try:
        asyncio.run(_run(arguments))
    except* (NginxEnded, OSError) as failed:
        for error in failed.exceptions:
            log.critical("backend failed pod=%s error=%s", arguments.pod, error)
        code = 1
    return code


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="harness.backends", description=__doc__)
    parser.add_argument("--pod", required=True)
    parser.add_argument("--node", required=True, help="empty for a host outside the mesh")
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--address", default="0.0.0.0", help="IPv4 address to listen on")  # noqa: S104 - a pod's own namespace
    parser.add_argument("--ipv6", action="store_true", help="listen on every IPv6 address too")
    for name, port in (("app", APP_PORT), ("echo", ECHO_PORT), ("sink", SINK_PORT), ("source", SOURCE_PORT)):
        parser.add_argument(f"--{name}-port", type=int, default=port)
    return parser.parse_args()


def _addresses(arguments: argparse.Namespace) -> list[str]:
    return [arguments.address, *(["::"] if arguments.ipv6 else [])]


def _raise_descriptor_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _run(arguments: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    child = await _start_nginx(arguments)
    try:
        async with asyncio.TaskGroup() as group:
            services = [
                group.create_task(tcp.listen(conversation, address, port), name=name)
                for address in _addresses(arguments)
                for name, conversation, port in (
                    ("echo", tcp.echo, arguments.echo_port),
                    ("sink", tcp.sink, arguments.sink_port),
                    ("source", tcp.source, arguments.source_port),
                )
            ]
            services.append(group.create_task(_watch(child), name="nginx"))
            await stopping.wait()
            for service in services:
                service.cancel()
    finally:
        await _stop(child)


async def _start_nginx(arguments: argparse.Namespace) -> asyncio.subprocess.Process:
    state_dir: Path = arguments.state_dir
    (state_dir / "temporary").mkdir(parents=True, exist_ok=True)
    nginx.status_socket(state_dir).unlink(missing_ok=True)  # nginx does not replace what a kill left
    written = state_dir / "nginx.conf"
    written.write_text(
        nginx.configuration(
            pod=arguments.pod,
            node=arguments.node,
            state_dir=state_dir,
            addresses=_addresses(arguments),
            port=arguments.app_port,
            superuser=os.geteuid() == 0,
        )
    )
    # setpriv: nginx must not outlive a backend that is killed, for then it would keep the port.
    return await asyncio.create_subprocess_exec(
        "setpriv", "--pdeathsig", "KILL", nginx.program(), "-e", "stderr", "-p", state_dir, "-c", written
    )


async def _watch(child: asyncio.subprocess.Process) -> None:
    code = await child.wait()
    raise NginxEnded(f"nginx (pid {child.pid}) ended by itself with code {code}; its log says why")


async def _stop(child: asyncio.subprocess.Process) -> None:
    if child.returncode is None:
        child.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await child.wait()
        except TimeoutError:
            log.warning("nginx did not end, killing it pid=%d waited_s=%s", child.pid, STOP_S)
            child.kill()
            await child.wait()


if __name__ == "__main__":
    sys.exit(main())
