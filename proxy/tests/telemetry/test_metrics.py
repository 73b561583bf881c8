"""Series and lines against those that a real ztunnel has for the same connections."""

from __future__ import annotations

import json
import re
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from proxy.state.document import parse
from proxy.telemetry import ConnectionRecord, Direction, Outcome, Stats, Telemetry
from proxy.telemetry.access import plain
from proxy.telemetry.exposition import Form
from proxy.tests.admin.test_dump import MESH, POD
from proxy.tests.scrapes import Samples, read, scrape
from proxy.tests.sockets import run, until
from proxy.tests.ztunnel import CLIENT, ELSEWHERE, STATS_PORT, Ztunnel, talking, ztunnel

TRAFFIC = re.compile(r"istio_tcp_(connections|.*bytes).*_total")


@pytest.mark.netns
def test_a_real_ztunnel_has_the_same_series_and_lines(tmp_path: Path) -> None:
    """P06, P13: plaintext to somebody out of the mesh, and from somebody to a pod; label by label."""

    async def test() -> None:
        async with ztunnel(tmp_path, MESH, [POD]) as made:
            with talking(made.pods[POD.name]):
                during = await theirs(made)
            log = tmp_path / "ztunnel.log"
            await until(lambda: log.read_text().count("connection complete") == 2)
            after = await theirs(made)
            lines = [line for line in log.read_text().splitlines() if "connection complete" in line]
        telemetry, (outbound, inbound) = Telemetry(Stats()), records()
        for record in (outbound, inbound):
            telemetry.opened(record)
        for direction in Direction:
            telemetry.sockets[direction] = 1
        assert_alike(await scrape(telemetry), during)
        for record in (outbound, inbound):
            telemetry.complete(record)
            telemetry.sockets[record.direction] = 0
        assert_alike(await scrape(telemetry), after)
        assert sorted(map(anonymous, lines)) == sorted(
            anonymous(f"t\tinfo\taccess\tconnection complete\t{plain(record)}")
            for record in (outbound, inbound)
        )

    run(test())


async def theirs(made: Ztunnel) -> Samples:
    """What it counts."""
    return read(await made.get(STATS_PORT, "/metrics"), Form.OPEN_METRICS)


def records() -> tuple[ConnectionRecord, ConnectionRecord]:
    """The two connections, as our listeners would fill them in."""
    pod = next(
        each
        for each in parse(json.dumps(MESH).encode(), version=1).workloads.values()
        if each.name == POD.name
    )
    given: dict[str, Any] = {"source": pod, "outcome": Outcome.PASSTHROUGH}
    return (
        ConnectionRecord(
            direction=Direction.OUTBOUND,
            source_address=(ip_address(CLIENT), 1),
            destination_address=(ip_address(ELSEWHERE), 80),
            **given,
        ),
        ConnectionRecord(
            direction=Direction.INBOUND,
            source_address=(ip_address(CLIENT), 1),
            destination_address=(ip_address(CLIENT), 8080),
            destination=pod,
            **given,
        ),
    )


def assert_alike(ours: Samples, theirs: Samples) -> None:
    """The same series with the same values; we show more zeros, for a rate needs a first value."""
    names = {name for name in (*ours, *theirs) if TRAFFIC.fullmatch(name)} | {"istio_tcp_sockets_open"}
    for name in names:
        ours_now, theirs_now = (
            {frozenset(labels.items()): value for labels, value in samples.get(name, ())}
            for samples in (ours, theirs)
        )
        assert {
            labels: value for labels, value in ours_now.items() if value or labels in theirs_now
        } == theirs_now


def anonymous(line: str) -> str:
    """A line without its times, and without what the test does not choose: the source's end."""
    line = re.sub(r'src\.addr=\S+|duration="\d+ms"', "", line)
    return line.partition("\t")[2]
