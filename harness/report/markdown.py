"""The summary as markdown, for a pull request or a CI job's page."""

from __future__ import annotations

import re
import shlex

from harness.analysis.findings import Findings
from harness.report import labels, tables
from harness.report.loads import loads


def markdown(findings: Findings) -> str:
    """The same answer and figures as the page's first screen."""
    manifest = findings.run.manifest
    written = [
        f"# {plain(manifest.run)}",
        "",
        (
            f"Suite `{plain(manifest.suite['name'])}` on {plain(manifest.engine)}, "
            f"{manifest.status.value}. "
            f"{tables.cells(findings)}; {plain(findings.control.check.reason)}."
        ),
        "",
    ]
    if manifest.reason:
        written += [f"> {plain(manifest.reason)}", ""]
    written += [*lines(tables.headline_table(findings)), ""]
    if findings.gates:
        written += ["## Thresholds", "", *lines(tables.gates(findings)), ""]
    for each in findings.answer:
        written += [
            f"**{each.question}** {' · '.join(f'{labels.SIGNS[word]} {word}' for word in each.verdicts)}",
            "",
            plain(each.sentence),
            "",
        ]
    written += [
        "<details><summary>All configurations</summary>",
        "",
        *lines(tables.overview(findings)),
        "",
        "</details>",
        "",
    ]
    if (scenarios := loads(findings, brief=True)).rows:
        written += [
            "<details><summary>Scenarios of load</summary>",
            "",
            *lines(scenarios),
            "",
            "</details>",
            "",
        ]
    written += ["<details><summary>Claims</summary>", "", *lines(_claims(findings)), "", "</details>", ""]
    failed = [cell for cell in findings.cells if cell.verdict.status.value != "valid"]
    written += [
        f"- {cell.verdict.status.value}: `{plain(cell.stored.folder.name)}`: {plain('; '.join(cell.reasons))}"
        for cell in failed
    ]
    written += ["", f"Again: `{plain(shlex.join(manifest.command))}`"]
    return "\n".join(written) + "\n"


def _claims(findings: Findings) -> tables.Table:
    return tables.Table(
        columns=("#", "claim", "verdict", "because"),
        rows=tuple(
            (str(each.number), each.text, f"{labels.SIGNS[each.verdict]} {each.verdict}", each.because)
            for each in findings.claims
        ),
    )


def lines(table: tables.Table) -> list[str]:
    """A table as lines of markdown."""
    return [
        f"| {' | '.join(table.columns)} |",
        f"|{'---|' * len(table.columns)}",
        *(f"| {' | '.join(plain(cell) for cell in row)} |" for row in table.rows),
    ]


def plain(text: str) -> str:
    """Text that cannot become markup: names come from files that others may have written."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", text.replace("\n", " "))
