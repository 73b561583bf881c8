"""What the three HTTP ports answer. Only POST changes anything."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus

from proxy.admin.http import Handler, Request, Response
from proxy.config import log_levels
from proxy.telemetry import logs
from proxy.telemetry.exposition import Family, Form, lines

Levels = Iterable[tuple[str, int]]
USAGE = """
usage: POST /logging                              (lists the levels in force)
       POST /logging?level=LEVEL                  (changes the level of all that is not named)
       POST /logging?level=SCOPE=LEVEL,...        (changes these scopes' levels)
       POST /logging?reset                        (goes back to the levels of the start)

levels: error, warn, info, debug, trace, off
scopes: access, phases, proxy, proxy.pool, proxy.inpod, ...
"""
NOT_FOUND = Response(HTTPStatus.NOT_FOUND, b"not found\n")


def routes(pages: Mapping[tuple[str, str], Handler]) -> Handler:
    """A handler for pages by (method, path); a known path with another method is 405."""
    paths = {path for _, path in pages}

    async def handle(request: Request) -> Response:
        page = pages.get((request.method, request.path))
        if page is not None:
            return await page(request)
        if request.path in paths:
            return Response(HTTPStatus.METHOD_NOT_ALLOWED, b"method not allowed\n")
        return NOT_FOUND

    return handle


def admin(dump: Callable[[], Iterator[str]], stop: asyncio.Event, at_start: Levels) -> Handler:
    """The admin port.

    Args:
        at_start: Log levels to go back to.
        dump: What `/config_dump` shows, in pieces that are made beside the traffic.
        stop: Set by `POST /quitquitquit`, which begins the drain.
    """

    async def index(_: Request) -> Response:
        return Response(
            body=b"GET  /config_dump\nPOST /logging (?level=LEVELS, ?reset)\nPOST /quitquitquit\n"
        )

    async def config_dump(_: Request) -> Response:
        return Response(body=dump(), content_type="application/json")

    async def logging_levels(request: Request) -> Response:
        given = request.query.get("level", "")
        try:
            asked = log_levels(given) if given else ()
        except (ValueError, KeyError):
            return Response(HTTPStatus.BAD_REQUEST, f"Invalid level provided: {given}\n{USAGE}".encode())
        if "reset" in request.query:
            logs.set_levels(at_start)
        logs.add_levels(asked)
        return Response(body=f"current log level is {logs.levels_in_force()}\n".encode())

    async def quit_(_: Request) -> Response:
        stop.set()
        return Response(body=b"shutdown now\n")

    return routes(
        {
            ("GET", "/"): index,
            ("GET", "/config_dump"): config_dump,
            ("POST", "/logging"): logging_levels,
            ("POST", "/quitquitquit"): quit_,
        }
    )


def stats(families: Callable[[], Awaitable[Iterable[Family]]]) -> Handler:
    """The metrics port; `families` are asked for at each scrape and read beside the traffic."""

    async def metrics(request: Request) -> Response:
        form = Form.accepted(request.accept)
        return Response(body=lines(await families(), form), content_type=form.value)

    return routes({("GET", "/metrics"): metrics, ("GET", "/stats/prometheus"): metrics})


def readiness(waiting_for: Callable[[], Sequence[str]]) -> Handler:
    """The readiness port: 200 as soon as nothing is waited for."""

    async def ready(_: Request) -> Response:
        missing = waiting_for()
        if missing:
            return Response(
                HTTPStatus.INTERNAL_SERVER_ERROR, f"not ready, pending: {', '.join(missing)}\n".encode()
            )
        return Response(body=b"ready\n")

    return routes({("GET", "/healthz/ready"): ready})
