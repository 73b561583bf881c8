"""`up`: a testbed that stays, to look around in."""

from __future__ import annotations

from typing import Annotated

import typer

from harness import dataplanes
from harness.cli._output import EngineName, Json, emit, note, say, table
from harness.errors import UsageError
from harness.plan.model import Interception
from harness.testbed import leftovers
from harness.testbed.checks import preflight
from harness.testbed.leftovers import Standing
from harness.testbed.lock import MeasuringLock
from harness.testbed.placement import Placement
from harness.testbed.testbed import Testbed
from harness.topology.model import Host, Pod

EXAMPLE = "up smoke --interception tproxy"


def command(
    suite: Annotated[
        str, typer.Argument(help="Suite whose topology to bring up: a name, or a file.")
    ] = "smoke",
    *,
    engine: EngineName = "",
    lanes: Annotated[
        int,
        typer.Option(min=1, help="Lanes on the same nodes, each with pods, rules and proxies of its own."),
    ] = 1,
    dataplane: Annotated[str, typer.Option(help="Of every lane; by default the suite's.")] = "",
    interception: Annotated[
        Interception | None, typer.Option(help="Of every lane; by default the suite's.", show_default=False)
    ] = None,
    override: Annotated[
        list[str] | None, typer.Option("-s", metavar="KEY=VALUE", help="Override one key of the suite.")
    ] = None,
    json: Json = False,
) -> None:
    """Bring a suite's testbed up and leave it standing; `down` removes it."""
    from harness.suite import load_suite  # noqa: PLC0415  # pydantic takes 0.2 s that other verbs need not pay
    from harness.topology.allocator import resolve  # noqa: PLC0415  # likewise

    loaded = load_suite(suite, override or [])
    topology = resolve(loaded.topology, lanes)
    dataplane = dataplane or loaded.default.dataplane
    level = _level(dataplane, interception, loaded.default.interception)
    placement = Placement(dataplane=dataplane, interception=level)
    chosen = preflight(engine)
    standing = [found for found in leftovers.runs() if found.standing is Standing.UP]
    if standing:
        raise UsageError(f"a testbed is up already: {standing[0].words}; ambientbench down removes it")
    warning = leftovers.warning()
    if warning:
        note(warning)
    with MeasuringLock():
        note(f"engine: {chosen.name} ({chosen.reason})")
        bed = Testbed(
            choice=chosen,
            topology=topology,
            placements=(placement,) * lanes,
            suite=suite,
            told=note,
            standing=True,
        )
        with bed:
            pass
    document = {
        "run": bed.run_id,
        "engine": chosen.name,
        "reason": chosen.reason,
        "directory": str(bed.layout.directory),
        "lanes": {str(number): placement.document() for number in range(1, lanes + 1)},
        "seconds": round(bed.up_s, 3),
        "stages": {name: round(seconds, 3) for name, seconds in bed.stages_s.items()},
        "nodes": {node.name: str(node.address) for node in topology.nodes},
        "pods": [
            {
                "name": pod.name,
                "lane": pod.lane,
                "node": pod.node,
                "address": str(pod.address),
                **_ipv6(pod),
            }
            for pod in topology.pods
        ],
        "hosts": {host.name: str(host.address) for host in topology.hosts},
    }
    if json:
        emit(document)
        return
    carrying = f", {lanes} lanes of {placement.words}" if lanes > 1 else ""
    say(f"testbed {bed.run_id} is up on {chosen.name} after {bed.up_s:.1f} s{carrying}")
    rows = [
        (pod.name, str(pod.lane), pod.node, _addresses(pod), "captured" if pod.captured else "-")
        for pod in topology.pods
    ]
    rows += [(host.name, "-", "-", _addresses(host), "-") for host in topology.hosts]
    say(table(("name", "lane", "node", "address", ""), rows))
    lane = "[--lane N] " if lanes > 1 else ""
    say(
        f"\nambientbench exec {lane}POD -- COMMAND runs something beside a pod; "
        "ambientbench down removes it all"
    )


def _ipv6(pod: Pod) -> dict[str, str]:
    return {"address6": str(pod.address6)} if pod.address6 is not None else {}


def _addresses(member: Pod | Host) -> str:
    return " ".join(str(member.address_of(family)) for family in member.families)


def _level(dataplane: str, asked: Interception | None, default: Interception) -> Interception:
    """The interception level to bring up: without a proxy, captured packets would have nowhere to go."""
    if dataplanes.named(dataplane).CARRIES:
        return asked or default
    if asked not in {None, Interception.NONE}:
        raise UsageError(
            f"--interception {asked} with --dataplane {dataplane} contradict each other: "
            "nothing would answer captured connections; leave one of them out"
        )
    return Interception.NONE
