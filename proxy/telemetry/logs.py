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

OFF = logging.CRITICAL + 1
_WORDS = {"WARNING": "warn", "CRITICAL": "error"}


def configure(form: LogFormat, levels: Iterable[tuple[str, int]]) -> None:
    """Write all lines to standard error, each as one write."""
    handler = _Lines(sys.stderr)
    handler.setFormatter(Json() if form is LogFormat.JSON else Plain())
    logging.getLogger().handlers = [handler]
    # Lines name no source file, thread or process, so nobody need look them up: half of a line's cost.
    logging._srcfile = None  # noqa: SLF001  as the logging HOWTO says
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    set_levels(levels)


def set_levels(levels: Iterable[tuple[str, int]]) -> None:
    """Set levels by logger name; the empty name is everything else. Phases stay off unless named."""
    logging.getLogger("phases").setLevel(OFF)
    for name, level in levels:
        logging.getLogger(name).setLevel(level)


class _Lines(logging.StreamHandler[TextIO]):
    """Standard error ends its buffer with each line: there is nothing to flush."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.stream.write(self.format(record) + "\n")
        except Exception:  # noqa: BLE001  as every handler of the library: a log that fails ends no connection
            self.handleError(record)


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
