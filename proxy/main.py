"""The command line: serve, or check a mesh document."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from proxy.config import InvalidSetting, Loop, Mode, Settings, variables
from proxy.environment import without_effect
from proxy.state.document import MalformedDocument, parse
from proxy.telemetry import logs
from proxy.version import VERSION

log = logging.getLogger("proxy")

EXIT_FAILED = 1
EXIT_USAGE = 2


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command and exit with its code."""
    sys.exit(run(sys.argv[1:] if argv is None else argv))


def run(argv: Sequence[str]) -> int:
    """Run the command.

    Returns:
        0 done, or stopped by one signal; 1 failed; 2 bad arguments or settings; 128 + signal when a
        second signal cut the drain short.
    """
    arguments = _parser().parse_args(argv)
    if arguments.command == "check":
        return check(arguments.document)
    try:
        env = os.environ if arguments.mode is None else {**os.environ, "PROXY_MODE": arguments.mode}
        settings = Settings.from_env(env)
        _require(settings)
    except InvalidSetting as exc:
        _say(f"pyztunnel: {exc}", sys.stderr)
        return EXIT_USAGE
    return serve(settings, without_effect(env))


def serve(settings: Settings, ignored: Sequence[str] = ()) -> int:
    """Serve until a signal or `/quitquitquit`. `ignored` names settings that the user may be waiting for."""
    # `check` and `--help` need no TLS, gRPC or HTTP/2.
    from proxy import serve as serving  # noqa: PLC0415
    from proxy.explicit.listener import ExplicitListeners  # noqa: PLC0415
    from proxy.listeners.pod import Listeners  # noqa: PLC0415

    logs.configure(settings.log_format, settings.log_levels)
    if ignored:
        log.warning("settings of ztunnel's that have no effect here names=%s", ",".join(ignored))
    listeners = ExplicitListeners if settings.mode is Mode.EXPLICIT else Listeners
    factory, name = loop_factory(settings.loop)
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(serving.serve(settings, listeners, loop_name=name))


def check(path: Path) -> int:
    """Read a mesh document and say what is wrong with it: 0 nothing, 1 some resources, 2 all of it."""
    try:
        state = parse(path.read_bytes(), version=1)
    except OSError as exc:
        _say(f"{path}: {exc.strerror}", sys.stderr)
        return EXIT_USAGE
    except MalformedDocument as exc:
        _say(f"{path}: {exc}", sys.stderr)
        return EXIT_USAGE
    for rejection in state.rejections:
        _say(f"{path}: {rejection.kind} {rejection.key} rejected: {rejection.reason}", sys.stderr)
    counts = (
        f"{len(state.workloads)} workloads, {len(state.services)} services, {len(state.policies)} policies"
    )
    _say(f"{path}: {counts}", sys.stdout)
    return EXIT_FAILED if state.rejections else 0


def _say(line: str, stream: TextIO) -> None:
    stream.write(line + "\n")


def loop_factory(wanted: Loop) -> tuple[Callable[[], asyncio.AbstractEventLoop], str]:
    """The event loop's maker and name.

    Raises:
        InvalidSetting: uvloop is asked for and not installed.
    """
    there = importlib.util.find_spec("uvloop") is not None
    if wanted is Loop.UVLOOP and not there:
        raise InvalidSetting(
            "PYZTUNNEL_LOOP=uvloop: uvloop is not installed; pip install uvloop, or set auto"
        )
    if there and wanted is not Loop.ASYNCIO:
        import uvloop  # noqa: PLC0415  optional

        return uvloop.new_event_loop, "uvloop"
    # On Windows the default loop has no readiness callbacks, which the relays live on.
    return asyncio.SelectorEventLoop, "asyncio"


def _require(settings: Settings) -> None:
    """What serving cannot do without; `check` and tests can."""
    if settings.mesh_document is None:
        raise InvalidSetting("LOCAL_XDS_PATH is not set: expected the path of a mesh document")
    if not settings.ca_address:
        raise InvalidSetting("CA_ADDRESS is not set: expected unix:///path or https://host:port")
    loop_factory(settings.loop)


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, variables()))
    lines = [f"  {name:<{width}}  {what}" for name, what in variables().items()]
    parser = argparse.ArgumentParser(
        prog="pyztunnel",
        description="A node proxy for ambient mode's data path. Without a command it serves.",
        epilog="Settings come from the environment:\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"pyztunnel {VERSION}")
    parser.add_argument("--mode", choices=[mode.value for mode in Mode], help="as PROXY_MODE, and before it")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    checking = commands.add_parser("check", help="read a mesh document and say what is wrong with it")
    checking.add_argument("document", type=Path, metavar="CONFIG")
    return parser
