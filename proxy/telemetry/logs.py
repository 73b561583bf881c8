"""How log lines are written: Istio's plain form, tabs between its parts, or JSON."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import TextIO

from proxy.config import LogFormat
from proxy.telemetry import access
from proxy.telemetry.writer import Writer

OFF = logging.CRITICAL + 1
_WORDS = {"WARNING": "warn", "CRITICAL": "error"}
_LEVELS = {
    logging.DEBUG: "debug",
    logging.INFO: "info",
    logging.WARNING: "warn",
    logging.ERROR: "error",
    OFF: "off",
}
_in_force: dict[str, int] = {}
"""Levels that were set, by logger name. Loggers are the process's, and so is this."""


def configure(form: LogFormat, levels: Iterable[tuple[str, int]]) -> None:
    """Write all lines to standard error, each as one write, by a thread."""
    root = logging.getLogger()
    for handler in root.handlers:
        if isinstance(handler, Lines):
            handler.close()
    root.handlers = [Lines(sys.stderr, Json() if form is LogFormat.JSON else Plain())]
    # Lines name no source file, thread or process, so nobody need look them up: half of a line's cost.
    logging._srcfile = None  # noqa: SLF001  as the logging HOWTO says
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    set_levels(levels)


def set_levels(levels: Iterable[tuple[str, int]]) -> None:
    """Set levels by logger name, and forget those of before; the empty name is everything else.

    Phases stay off unless named.
    """
    for name in _in_force:
        logging.getLogger(name).setLevel(logging.NOTSET if name else logging.INFO)
    _in_force.clear()
    logging.getLogger("phases").setLevel(OFF)
    add_levels(levels)


def add_levels(levels: Iterable[tuple[str, int]]) -> None:
    """Set these levels, and leave the others as they are."""
    for name, level in levels:
        logging.getLogger(name).setLevel(level)
        _in_force[name] = level


def levels_in_force() -> str:
    """As RUST_LOG writes them."""
    named = [(name, level) for name, level in _in_force.items() if name]
    bare = _LEVELS[_in_force.get("", logging.INFO)]
    return ",".join((*(f"{name}={_LEVELS[level]}" for name, level in named), bare))


def dropped() -> int:
    """Lines that found no room since the start: whoever reads them does not keep up."""
    return sum(h.writer.dropped for h in logging.getLogger().handlers if isinstance(h, Lines))


class Lines(logging.Handler):
    """Hands lines to a thread that writes them. Nothing is lost at an orderly end, which closes handlers."""

    def __init__(self, stream: TextIO, form: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(form)
        self.writer = Writer(stream, self._dropped)

    def emit(self, record: logging.LogRecord) -> None:
        """Write it in its turn."""
        try:
            self.writer.put(self.format(record) + "\n")
        except Exception:  # noqa: BLE001  as every handler of the library: a log that fails ends no connection
            self.handleError(record)

    def close(self) -> None:
        """Wait for the lines that are on their way."""
        self.writer.close()
        super().close()

    def _dropped(self, count: int) -> str:
        line = logging.makeLogRecord(
            {
                "name": "proxy.telemetry",
                "levelno": logging.WARNING,
                "levelname": "WARNING",
                "msg": "log lines dropped count=%d",
                "args": (count,),
            }
        )
        return self.format(line) + "\n"


class Plain(logging.Formatter):
    """`2026-01-01T00:00:00.000000Z<TAB>info<TAB>access<TAB>connection complete<TAB>k=v ...`"""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and a traceback's lines after it."""
        parts = [_time(record), _level(record), _scope(record), record.getMessage()]
        connection = getattr(record, "connection", None)
        given = getattr(record, "fields", None)
        if connection is not None:
            parts.append(access.plain(connection))
        elif given:
            parts.append(" ".join(access.plainly(name, value) for name, value in given.items()))
        if record.exc_info:
            parts.append("\n" + self.formatException(record.exc_info))
        return "\t".join(parts)


class Json(logging.Formatter):
    """One object per line: level, time, scope, message, and the fields beside them."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line: dict[str, object] = {
            "level": _level(record),
            "time": _time(record),
            "scope": _scope(record),
            "message": record.getMessage(),
        }
        connection = getattr(record, "connection", None)
        if connection is not None:
            line.update(access.fields(connection))
        line.update(getattr(record, "fields", None) or {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def _time(record: logging.LogRecord) -> str:
    second = int(record.created)
    return f"{_second(second)}.{int((record.created - second) * 1e6):06d}Z"


@lru_cache(maxsize=2)
def _second(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}"


def _level(record: logging.LogRecord) -> str:
    return _WORDS.get(record.levelname, record.levelname.lower())


def _scope(record: logging.LogRecord) -> str:
    return record.name.removeprefix("proxy.")
