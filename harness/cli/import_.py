"""`import`: lay another tool's results beside a run's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli._output import Json, emit, say, table
from harness.errors import UsageError

EXAMPLE = "import latest fortio.json"


def command(
    run: Annotated[str, typer.Argument(help="A run's name or its beginning, its folder, or `latest`.")],
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE ...", help="Results of `fortio load -json FILE`.")
    ],
    *,
    results: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("results"),
    json: Json = False,
) -> None:
    """Keep Fortio's results in a run's folder; its report shows them beside its own fixed-rate latencies.

    Nothing is claimed from them: another generator's result has no rounds to pair and no evidence.
    """
    from harness.analysis.fortio import Fortio  # noqa: PLC0415  # numpy and scipy are not for --help
    from harness.analysis.rounds import QUANTILES  # noqa: PLC0415
    from harness.analysis.text import quantity  # noqa: PLC0415
    from harness.results import imported  # noqa: PLC0415
    from harness.results.read import find_run, read_manifest  # noqa: PLC0415

    folder = find_run(run, results)
    manifest = read_manifest(folder)
    documents = {path: _document(path) for path in files}
    found = {path: Fortio.from_document(each, path.stem) for path, each in documents.items()}
    saved = {path: imported.add(folder, path.stem, each) for path, each in documents.items()}
    percentiles = {
        path: {q: each.percentile(share) for q, share in QUANTILES.items()} for path, each in found.items()
    }
    if json:
        emit(
            [
                {
                    "file": str(saved[path]),
                    "n": each.n,
                    "failed": each.failed,
                    "percentiles_s": percentiles[path],
                }
                for path, each in found.items()
            ]
        )
        return
    rows = [
        (
            each.name,
            f"{each.n:,}",
            f"{each.failed:,}",
            *("–" if value is None else quantity(value, "s") for value in percentiles[path].values()),
        )
        for path, each in found.items()
    ]
    say(table(("result", "n", "failed", *QUANTILES), rows))
    say(f"kept beside {manifest.run}; `ambientbench report {manifest.run}` shows them with its own")


def _document(path: Path) -> dict[str, object]:
    import json as parser  # noqa: PLC0415  # the flag has the module's name

    try:
        document = parser.loads(path.read_bytes())
    except (OSError, ValueError) as exc:
        raise UsageError(f"import {path}: {exc}") from exc
    if not isinstance(document, dict):
        raise UsageError(f"import {path}: a result of Fortio is a table, found {type(document).__name__}")
    return document
