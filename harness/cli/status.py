"""`status`: what runs of this user exist on this machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from harness.cli._output import Json, emit, say, table
from harness.engines import choice
from harness.engines.api import EngineError
from harness.testbed import leftovers, rundir
from harness.testbed.leftovers import Found, Standing
from harness.testbed.placement import Placement

EXAMPLE = "status --json"


def command(json: Json = False) -> None:
    """Show testbeds: what stands, what is being measured, what dead runs left."""
    found = leftovers.runs()
    documents = [_document(each) for each in found]
    orphans = [str(path) for path in rundir.orphans()]
    if json:
        emit({"runs": documents, "orphans": orphans})
        return
    if not found and not orphans:
        say("no testbed")
        return
    rows = [
        (
            document["run"],
            document["standing"],
            document["engine"],
            document["suite"],
            _lanes(document["lanes"]),
            str(len(document["members"])),
            ", ".join(f"{name} ({code})" for name, code in document["ended"].items()) or "-",
        )
        for document in documents
    ]
    header = ("run", "standing", "engine", "suite", "lanes", "running", "ended")
    if rows:
        say(table(header, rows))
    if any(each.standing is Standing.LEFT for each in found) or orphans:
        say(leftovers.warning())


def _document(found: Found) -> dict[str, Any]:
    journal = found.directory.journal if found.directory is not None else None
    document: dict[str, Any] = {
        "run": found.run_id,
        "standing": found.standing.value,
        "owner": str(found.owner or ""),
        "engine": journal.engine if journal else ", ".join(found.things),
        "created": journal.created if journal else "",
        "suite": journal.suite if journal else "",
        "lanes": journal.lanes if journal else [],
        "directory": str(found.directory.path) if found.directory else "",
        "things": {engine: list(things) for engine, things in found.things.items()},
        "members": {},
        "ended": {},
    }
    if found.directory is not None and journal is not None and journal.engine in found.things:
        engine = choice.named(journal.engine).engine(found.directory.run)
        try:
            document["members"], document["ended"] = dict(engine.pids()), dict(engine.exited())
        except EngineError as exc:
            document["problem"] = str(exc)
    return document


def _lanes(lanes: Sequence[Mapping[str, Any]]) -> str:
    """What the lanes carry, those with the same together: `2 x pyztunnel redirect, envoy redirect`."""
    words = Counter(Placement.from_document(lane).words for lane in lanes)
    return ", ".join(f"{count} x {each}" if count > 1 else each for each, count in words.items())
