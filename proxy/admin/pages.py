"""What the three HTTP ports answer. Only POST changes anything."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from http import HTTPStatus

from proxy.admin.http import Handler, Request, Response
from proxy.config import log_levels
from proxy.telemetry.exposition import Family, Form, chunks
from proxy.telemetry.logs import set_levels

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


def admin(dump: Callable[[], Mapping[str, object]], stop: asyncio.Event) -> Handler:
    """The admin port.

    Args:
        dump: What `/config_dump` shows; never a key.
        stop: Set by `POST /quitquitquit`, which begins the drain.
    """

    async def index(_: Request) -> Response:
        return Response(
            body=b"GET  /config_dump\nPOST /logging?level=LEVELS (as in RUST_LOG)\nPOST /quitquitquit\n"
        )

    async def config_dump(_: Request) -> Response:
        return Response(
            body=json.dumps(dump(), indent=2, default=str).encode() + b"\n", content_type="application/json"
        )

    async def logging_levels(request: Request) -> Response:
        given = request.query.get("level", "")
        try:
            set_levels(log_levels(given))
        except (ValueError, KeyError):
            return Response(
                HTTPStatus.BAD_REQUEST, b"level: expected levels such as info or warn,access=info\n"
            )
        return Response(body=f"log levels are now {given}\n".encode())

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
        return Response(body=chunks(await families(), form), content_type=form.value)

    return routes({("GET", "/metrics"): metrics, ("GET", "/stats/prometheus"): metrics})


def readiness(waiting_for: Callable[[], Sequence[str]]) -> Handler:
    """The readiness port: 200 as soon as nothing is waited for."""

    async def ready(_: Request) -> Response:
        missing = waiting_for()
        if missing:
            return Response(
                HTTPStatus.INTERNAL_SERVER_ERROR, f"not ready, waiting for: {', '.join(missing)}\n".encode()
            )
        return Response(body=b"ready\n")

    return routes({("GET", "/healthz/ready"): ready})
