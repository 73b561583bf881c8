"""What every page of ours is made with: its template, its parts, and a policy that lets nothing else in.

The content security policy allows nothing to be loaded and only the page's own scripts, by hash, to
run; so a name that found its way into a run could not become code even past the escaping.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined, Template, select_autoescape

from harness.analysis.text import significant
from harness.report import labels

ASSETS = files("harness.report") / "assets"


def policy(scripts: Iterable[str]) -> str:
    """A content security policy under which these scripts run and nothing else does."""
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    directives = (
        "default-src 'none'",
        f"script-src {' '.join(repr(f'sha256-{digest}') for digest in digests)}",
        "style-src 'unsafe-inline'",  # plotly.js sets styles on the elements it draws
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    )
    return "; ".join(directives)


def template(name: str) -> Template:
    """One of our pages, everything put into it escaped."""
    return _environment().get_template(name)


def script(parts: Iterable[str]) -> str:
    """A page's own script, made of files that share one scope."""
    return "\n".join(('"use strict";', *map(asset, parts)))


@cache
def packed(text: str) -> str:
    """A large part of a page, compressed; the page unpacks it where and when it needs it."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode("ascii")


@cache
def asset(name: str) -> str:
    """One of the pages' files, without its final newline."""
    # which would be part of what the policy hashes, and of nothing else
    return (ASSETS / name).read_text(encoding="utf-8").rstrip("\n")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("harness.report", "assets"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "sort_keys": True}
    environment.filters |= {"shown": _shown, "tied": _tied}
    environment.globals.update(
        sign=lambda word: labels.SIGNS[str(word)], kind=lambda word: str(word).replace(" ", "-")
    )
    return environment


def _shown(value: float | str | None) -> str:
    if value is None:
        return "–"
    return significant(value, 4) if isinstance(value, float) else str(value)


def _tied(text: str) -> str:
    """No line break between a number and its unit."""
    return re.sub(r"(\d) (×|µs|ms|s|%|[GMk]?b/s|req/s)(?=\W|$)", "\\1\u00a0\\2", text)
