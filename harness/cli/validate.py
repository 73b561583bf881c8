"""`validate`: check a suite and print it resolved."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli._output import Json, emit, note, say

EXAMPLE = "validate my.toml -s load.rate.hz=400"


def command(
    suite: Annotated[str, typer.Argument(help="A suite's name in suites/, or a file.")] = "quick",
    *,
    override: Annotated[
        list[str] | None, typer.Option("-s", metavar="KEY=VALUE", help="Override one key of the suite.")
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of suite files instead, for editors.")
    ] = False,
    json: Json = False,
) -> None:
    """Check a suite and print it resolved: every default, extension and override applied."""
    from harness.suite import load_suite  # noqa: PLC0415  # pydantic takes time that --help need not pay
    from harness.suite.raw import json_schema  # noqa: PLC0415
    from harness.suite.resolve import document  # noqa: PLC0415

    if schema:
        emit(json_schema())
        return
    loaded = load_suite(suite, override or [])
    for line in loaded.notes:
        note(f"note: {line}")
    if json:
        emit(document(loaded))
        return
    topology = loaded.topology
    say(f"{loaded.name}: {loaded.description}")
    say(f"file      {loaded.file}" + "".join(f" -s {each}" for each in loaded.overrides))
    say(f"hash      {loaded.hash[:16]}")
    say(f"nodes     {', '.join(node.name for node in topology.nodes)}")
    for pod in topology.pods:
        roles = [
            word for word, given in (("client", pod.client), ("not captured", not pod.captured)) if given
        ]
        note_of = f" ({', '.join(roles)})" if roles else ""
        say(f"pod       {pod.name} on {pod.node}, {pod.namespace}/{pod.service_account or pod.name}{note_of}")
    say(f"hosts     {', '.join(host.name for host in topology.hosts) or 'none'}")
    say(f"policies  {', '.join(policy.name for policy in topology.policies) or 'none'}")
    for path, ends in loaded.paths.items():
        say(f"path      {path.value}: {ends.source} -> {ends.destination}")
    say(f"cells     {len(loaded.configurations)} configurations x {loaded.rounds} rounds")
    for configuration in loaded.configurations:
        say(f"          {configuration.key}" + (" (default)" if configuration == loaded.default else ""))
