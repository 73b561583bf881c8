"""The summary as markdown, for a pull request or a CI job's page."""

from __future__ import annotations

import re
import shlex

from harness.analysis.findings import Findings
from harness.report import labels, tables


def markdown(findings: Findings) -> str:
    """The same answer and figures as the page's first screen."""
    manifest = findings.run.manifest
    lines = [
        f"# {_plain(manifest.run)}",
        "",
        (
            f"Suite `{_plain(manifest.suite['name'])}` on {_plain(manifest.engine)}, "
            f"{manifest.status.value}. "
            f"{tables.cells(findings)}; {_plain(findings.control.check.reason)}."
        ),
        "",
    ]
    if manifest.reason:
        lines += [f"> {_plain(manifest.reason)}", ""]
    lines += [*_table(tables.headline_table(findings)), ""]
    for each in findings.answer:
        lines += [
            f"**{each.question}** {' · '.join(f'{labels.SIGNS[word]} {word}' for word in each.verdicts)}",
            "",
            _plain(each.sentence),
            "",
        ]
    lines += [
        "<details><summary>All configurations</summary>",
        "",
        *_table(tables.overview(findings)),
        "",
        "</details>",
        "",
    ]
    lines += ["<details><summary>Claims</summary>", "", *_table(_claims(findings)), "", "</details>", ""]
    failed = [cell for cell in findings.cells if cell.last and cell.verdict.status.value != "valid"]
    lines += [
        f"- {cell.verdict.status.value}: `{_plain(cell.stored.folder.name)}`: "
        f"{_plain('; '.join(cell.reasons))}"
        for cell in failed
    ]
    lines += ["", f"Again: `{_plain(shlex.join(manifest.command))}`"]
    return "\n".join(lines) + "\n"


def _claims(findings: Findings) -> tables.Table:
    return tables.Table(
        columns=("#", "claim", "verdict", "because"),
        rows=tuple(
            (str(each.number), each.text, f"{labels.SIGNS[each.verdict]} {each.verdict}", each.because)
            for each in findings.claims
        ),
    )


def _table(table: tables.Table) -> list[str]:
    return [
        f"| {' | '.join(table.columns)} |",
        f"|{'---|' * len(table.columns)}",
        *(f"| {' | '.join(_plain(cell) for cell in row)} |" for row in table.rows),
    ]


def _plain(text: str) -> str:
    """Text that cannot become markup: names come from files that others may have written."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", text.replace("\n", " "))
