"""One connection's way from what client, proxies and backend each saw of it."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from harness.evidence.case import Case
from harness.evidence.joined import join
from harness.evidence.sources import journal
from harness.evidence.sources.document import Unreadable
from harness.plan.model import Configuration, Interception, Path, SameNode
from harness.tests.evidence.walk import CONFIGURATIONS, honest

MESH = Configuration(path=Path.CROSS_NODE, dataplane="pyztunnel", interception=Interception.REDIRECT)


def doctored(case: Case, node: str, number: int, **changes: object) -> Case:
    documents: dict[str, Any] = copy.deepcopy(dict(case.documents))
    rows = documents["journal"]["proxies"][node]["rows"]
    found = dict(zip(journal.FIELDS, rows[number].split(" "), strict=True)) | changes
    rows[number] = " ".join(str(found[name]) for name in journal.FIELDS)
    return replace(case, documents=documents)


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=lambda configuration: configuration.key)
def test_every_first_packet_is_found_at_every_hop_that_its_path_has(configuration: Configuration) -> None:
    case = honest(configuration)

    joined = join(case)

    assert [each.packet for each in joined] == list(case.first_packets) != []
    assert {each.broken for each in joined} == {""}
    assert {each.source is not None for each in joined} == {case.outbound_proxy is not None}
    by_another = case.inbound_proxy is not None and not case.handed_over
    assert {each.destination is not None for each in joined} == {by_another}


def test_one_proxy_is_passed_twice_on_the_same_node() -> None:
    case = honest(replace(MESH, path=Path.SAME_NODE))

    (first, *_) = join(case)

    assert case.outbound_proxy == case.inbound_proxy
    assert first.source is not None
    assert first.destination is not None
    assert first.source.trace == first.destination.trace


def test_inside_the_proxy_there_is_one_entry() -> None:
    (first, *_) = join(honest(replace(MESH, path=Path.SAME_NODE, same_node=SameNode.PLAINTEXT)))

    assert first.source is not None
    assert first.destination is None


@pytest.mark.parametrize(
    ("node", "change", "broken"),
    [
        ("a", {"source": "10.244.0.2:1"}, "source"),
        ("a", {"accepted_ns": 1}, "source"),
        ("a", {"trace": "f" * 32}, "destination"),
        ("b", {"trace": "f" * 32}, "destination"),
        ("b", {"own_end": "10.244.0.2:1"}, "backend"),
        ("b", {"own_end": "-"}, "backend"),
    ],
)
def test_a_hop_that_is_not_found_breaks_the_join_of_that_connection_alone(
    node: str, change: dict[str, object], broken: str
) -> None:
    joined = join(doctored(honest(MESH), node, 1, **change))

    assert [each.broken for each in joined] == [broken, *[""] * (len(joined) - 1)]


def test_a_port_that_comes_again_is_told_apart_by_time() -> None:
    """A later connection from the same port does not make the earlier one's entry uncertain."""
    case = doctored(honest(MESH), "a", 2, source="10.244.0.2:40000")

    joined = join(case)

    assert [each.broken for each in joined][:2] == ["", "source"]


def test_a_book_with_gaps_is_unreadable() -> None:
    case = honest(MESH)
    documents = copy.deepcopy(dict(case.documents))
    documents["journal"]["proxies"]["b"]["lost"] = 2

    with pytest.raises(Unreadable, match="node b handed over 7 connections, 2 more found no room"):
        join(replace(case, documents=documents))


@pytest.mark.parametrize("line", ["", "a b", "outbound hbone - - - - x 5" + " -" * 14])
def test_a_row_of_another_form_is_unreadable(line: str) -> None:
    with pytest.raises(Unreadable, match="journal: row"):
        journal.entry(line)


def test_fields_are_those_that_the_proxy_writes() -> None:
    """Each side names them itself, as neither may import the other."""
    from proxy.telemetry.journal import FIELDS  # noqa: PLC0415  # the other side, for this comparison alone

    assert set(FIELDS) == set(journal.FIELDS)
