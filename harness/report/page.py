"""The report of a run: one HTML file that needs no network, script, style and data in it."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from typing import Any

from harness.analysis.findings import Findings
from harness.analysis.ledger import ROWS
from harness.analysis.text import significant
from harness.evidence.model import CheckStatus
from harness.report import labels, tables
from harness.report.figures import Figure, all_figures, plotly_javascript
from harness.report.figures._figure import DARK
from harness.report.html import asset, packed, policy, script, template
from harness.report.limits import limits
from harness.report.loads import loads
from harness.report.matrix import document, matrix

SECTIONS = (
    ("first-packet", "First packet"),
    ("factors", "Factors"),
    ("throughput", "Throughput"),
    ("cpu", "CPU and context switches"),
    ("distributions", "Distributions"),
    ("cells", "Cells"),
    ("evidence", "Evidence"),
    ("validity", "Validity"),
)
"""Anchor and title of the sections, in their order; a figure's section that is not here comes after them."""

SCRIPT = ("plots.js", "tables.js", "page.js", "cells.js")
"""What runs beside plotly.js: one script, made of these in this order."""


def render(findings: Findings) -> str:
    """The page."""
    plotly, own = plotly_javascript(), script(SCRIPT)
    figures = all_figures(findings)
    manifest = findings.run.manifest
    page: str = template("page.html.j2").render(
        findings=findings,
        manifest=manifest,
        plotly=packed(plotly),
        script=own,
        style=asset("style.css"),
        policy=policy([plotly, own]),
        dark=DARK,
        sections=_sections(figures),
        matrix=matrix(findings),
        cells_document=document(findings),
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


def _sections(figures: list[Figure]) -> list[dict[str, object]]:
    titles = dict(SECTIONS)
    for each in figures:
        titles.setdefault(each.section, each.section.replace("-", " ").capitalize())
    return [
        {"name": name, "title": title, "figures": [each for each in figures if each.section == name]}
        for name, title in titles.items()
    ]


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
        for check in cell.verdict.checks:
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
    proxies = findings.run.manifest.members.get("proxies", {})
    groups.append(("proxies", [(node, _versions(said)) for node, said in proxies.items()]))
    return groups


def _versions(said: Mapping[str, Any]) -> str:
    """What a proxy runs on, which in an image is not what the harness runs on."""
    return ", ".join(f"{name} {version}" for name, version in said.items())
