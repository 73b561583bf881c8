"""Excerpts as verbs name them: a stored run, or what is kept among the baselines."""

from __future__ import annotations

from pathlib import Path

from harness.analysis.excerpt import Excerpt, excerpt
from harness.analysis.findings import analyse
from harness.cli._output import note
from harness.errors import UsageError
from harness.results import baselines
from harness.results.baselines import Document
from harness.results.read import Unreadable, find_run, read


def run_excerpt(name: str, results: Path) -> Excerpt:
    """The excerpt of a stored run, analysed from its raw files; or the one in a file.

    Raises:
        Unreadable: There is no such run, or it cannot be believed.
    """
    path = Path(name)
    if path.suffix == ".json" and path.is_file():
        return parsed(baselines.load(path), str(path))
    return excerpt(analyse(read(find_run(name, results))))


def reference_excerpt(run: Excerpt, results: Path) -> Excerpt:
    """What a run is held against: the reference of its shelf.

    Raises:
        UsageError: Nothing is kept for its suite and environment.
        Unreadable: What is kept does not have the form.
    """
    document = baselines.reference(results, run.shelf)
    if document is None:
        known = ", ".join(baselines.shelves(results)) or "none"
        raise UsageError(
            f"compare {run.run}: no baseline for its suite and environment ({run.shelf}) in "
            f"{results}/{baselines.FOLDER}/ (there: {known}); keep one with `ambientbench baseline save RUN`"
        )
    return parsed(document, run.shelf)


def baseline_excerpts(results: Path) -> list[Excerpt]:
    """Every excerpt among the baselines; one that does not have the form is named and passed over."""
    found = []
    for path, document in baselines.documents(results):
        try:
            found.append(parsed(document, str(path)))
        except Unreadable as exc:
            note(f"passed over: {exc}")
    return found


def parsed(document: Document, where: str) -> Excerpt:
    """A saved excerpt as a value.

    Raises:
        Unreadable: It does not have the form.
    """
    try:
        return Excerpt.from_document(document)
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise Unreadable(f"baseline {where} does not have the form of an excerpt: {exc!r}") from exc
