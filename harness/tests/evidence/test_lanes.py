"""One lane's share of the counts of namespaces that all lanes share."""

from __future__ import annotations

from typing import Any

from harness.evidence.lanes import of_lane


def _rule(lane: int, packets: int, rule: str = "wire-hbone-dport") -> dict[str, Any]:
    return {
        "table": "mangle",
        "chain": "BENCH_WIRE_IN",
        "lane": lane,
        "rule": rule,
        "packets": packets,
        "bytes": 1,
    }


COUNTED = {
    "node-a": {
        "kind": "node",
        "lane": 0,
        "digest": "d",
        "rules": [_rule(0, 9, "jump-wire-in"), _rule(1, 5), _rule(2, 7)],
        "stray": {"0": 1, "1": 2, "2": 4},
    },
    "pod-1-client": {"kind": "pod", "lane": 1, "digest": "e", "rules": [_rule(0, 3)], "stray": {"1": 0}},
    "pod-2-client": {"kind": "pod", "lane": 2, "digest": "f", "rules": [_rule(0, 4)], "stray": {"2": 8}},
}


def test_another_lane_s_pods_and_packets_are_left_out() -> None:
    found = of_lane(COUNTED, 2)

    assert list(found) == ["node-a", "pod-2-client"]
    assert [("jump-wire-in", 9), ("wire-hbone-dport", 7)] == [
        (rule["rule"], rule["packets"]) for rule in found["node-a"]["rules"]
    ]
    assert (found["node-a"]["stray"], found["pod-2-client"]["stray"]) == (5, 8)


def test_what_is_of_no_lane_stays_as_it_is() -> None:
    found = of_lane(COUNTED, 1)["node-a"]

    assert (found["kind"], found["digest"]) == ("node", "d")
    assert found["stray"] == 3
