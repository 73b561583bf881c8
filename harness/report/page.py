"""The report as one HTML file that needs no network: script, style and data are in it.

The content security policy allows nothing to be loaded and only the page's own scripts, by hash, to
run; so a name that found its way into a run could not become code even past the escaping.
"""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
from collections import Counter
from functools import cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Template, select_autoescape

from harness.analysis.findings import Findings
from harness.analysis.ledger import ROWS
from harness.analysis.text import significant
from harness.evidence.model import CheckStatus
from harness.report import labels, tables
from harness.report.figures import all_figures, plotly_javascript
from harness.report.figures._figure import DARK
from harness.report.limits import limits
from harness.report.loads import loads

ASSETS = files("harness.report") / "assets"

SECTIONS = (
    ("first-packet", "First packet"),
    ("factors", "Factors"),
    ("throughput", "Throughput"),
    ("cpu", "CPU and context switches"),
    ("distributions", "Distributions"),
    ("evidence", "Evidence"),
    ("validity", "Validity"),
)
"""Anchor and title of the sections that hold figures, in their order."""


def render(findings: Findings) -> str:
    """The page."""
    plotly, script = plotly_javascript(), _asset("page.js")
    figures = all_figures(findings)
    manifest = findings.run.manifest
    page: str = _template().render(
        findings=findings,
        manifest=manifest,
        plotly=plotly,
        script=script,
        style=_asset("style.css"),
        policy=_policy([plotly, script]),
        dark=DARK,
        sections=[
            {"name": name, "title": title, "figures": [each for each in figures if each.section == name]}
            for name, title in SECTIONS
        ],
        headlines=tables.headlines(findings),
        overview=tables.overview(findings),
        loads=loads(findings),
        gates=tables.gates(findings),
        cells=tables.cells(findings),
        counts=findings.counts(),
        ledger=_ledger(findings),
        checks=_checks(findings),
        proofs=tables.proofs(findings, rounds=False),
        proofs_by_round=tables.proofs(findings, rounds=True),
        not_valid=[cell for cell in findings.cells if cell.reasons],
        comparisons=tables.comparisons((*findings.first_packet, *findings.factors, *findings.costs)),
        environment=_environment(findings),
        command=shlex.join(manifest.command),
        limits=limits(findings),
    )
    return page


def _policy(scripts: list[str]) -> str:
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


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"shown": _shown, "tied": _tied}
    environment.globals.update(
        sign=lambda word: labels.SIGNS[str(word)], kind=lambda word: str(word).replace(" ", "-")
    )
    return environment.from_string(_asset("page.html.j2"))


@cache
def _asset(name: str) -> str:
    # a final newline would be part of what the policy hashes, and of nothing else
    return (ASSETS / name).read_text(encoding="utf-8").rstrip("\n")


def _shown(value: float | str | None) -> str:
    if value is None:
        return "–"
    return significant(value, 4) if isinstance(value, float) else str(value)


def _tied(text: str) -> str:
    """No line break between a number and its unit."""
    return re.sub(r"(\d) (×|µs|ms|s|%|[GMk]?b/s|req/s)(?=\W|$)", "\\1\u00a0\\2", text)


def _ledger(findings: Findings) -> tables.Table:
    """Each figure of the ledger by configuration; empty where it does not apply."""
    shown = [row for row in ROWS if any(row.name in each.figures for each in findings.ledgers.values())]
    found = [
        (each, findings.ledgers[each.key])
        for each in labels.ordered(findings.configurations)
        if each.key in findings.ledgers
    ]
    return tables.Table(
        columns=("path", "configuration", "cells", *(row.title for row in shown)),
        rows=tuple(
            (
                configuration.path.value,
                labels.configuration(configuration),
                str(ledger.cells),
                *(
                    significant(ledger.figures[row.name]) if row.name in ledger.figures else "–"
                    for row in shown
                ),
            )
            for configuration, ledger in found
        ),
    )


def _checks(findings: Findings) -> tables.Table:
    """How often each check ended how, over the last measurement of every cell."""
    ended: dict[str, Counter[CheckStatus]] = {}
    for cell in findings.cells:
        for check in cell.verdict.checks if cell.last else ():
            ended.setdefault(check.name, Counter())[check.status] += 1
    return tables.Table(
        columns=("check", *(status.value for status in CheckStatus)),
        rows=tuple(
            (name, *(str(counts[status]) for status in CheckStatus)) for name, counts in sorted(ended.items())
        ),
    )


def _environment(findings: Findings) -> list[tuple[str, list[tuple[str, str]]]]:
    """Group -> facts, flattened for reading."""
    environment = findings.run.environment
    groups = []
    for group in ("host", "software", "source", "sysctls"):
        facts = environment.get(group, {})
        groups.append(
            (group, [(str(key), str(value)) for key, value in facts.items() if value not in (None, "")])
        )
    return groups
