"""A validator never seen failing proves nothing: each lie in the evidence turns the right check."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from harness.evidence.case import Case
from harness.evidence.model import CellStatus, CheckStatus
from harness.evidence.sources.journal import FIELDS
from harness.evidence.verdict import evaluate
from harness.plan.model import Configuration, Interception, Path, Reuse, SameNode
from harness.tests.evidence.walk import RATE_ROWS, REQUESTS_ROWS, honest
from harness.topology.model import IpFamily

Documents = dict[str, Any]
Doctor = Callable[[Documents], None]


def _configuration(
    path: Path = Path.CROSS_NODE,
    level: Interception = Interception.REDIRECT,
    reuse: Reuse = Reuse.ON,
    dataplane: str = "pyztunnel",
) -> Configuration:
    return Configuration(path=path, dataplane=dataplane, interception=level, reuse=reuse)


MESH = _configuration()
MESH_IPV6 = replace(MESH, ip_family=IpFamily.IPV6)
ONE_STREAM = replace(MESH, streams_per_tunnel=1)
NO_REUSE = _configuration(reuse=Reuse.OFF)
TPROXY = _configuration(level=Interception.TPROXY)
NOTRACK = _configuration(level=Interception.TPROXY_NOTRACK)
SAME_NODE = _configuration(path=Path.SAME_NODE)
OUT_OF_MESH = _configuration(path=Path.OUT_OF_MESH)
HANDED_OVER = replace(SAME_NODE, same_node=SameNode.PLAINTEXT)
INTO_MESH = _configuration(path=Path.INTO_MESH)
INTO_MESH_TPROXY = _configuration(path=Path.INTO_MESH, level=Interception.TPROXY)
FAR = replace(MESH, rtt_ms=16)
NONE = _configuration(level=Interception.NONE, dataplane="none")


def packets(namespace: str, rule: str, more: int, chain: str = "") -> Doctor:
    """A rule counted more (or fewer) packets."""

    def doctor(documents: Documents) -> None:
        for entry in documents["rules"]["after"][namespace]["rules"]:
            if entry["rule"] == rule and chain in {"", entry["chain"]}:
                entry["packets"] += more
                return
        raise AssertionError(f"no rule {rule} in {namespace}")

    return doctor


def stat(node: str, counter: str, more: int = 1, *readings: str) -> Doctor:
    """A proxy counted more (or fewer), in the readings named or the last."""

    def doctor(documents: Documents) -> None:
        for reading in readings or ("after",):
            documents["tunnels"][reading][node][counter] += more

    return doctor


def health(stage: str, **changes: Any) -> Doctor:
    """The generator said something else of itself."""

    def doctor(documents: Documents) -> None:
        documents["generator"]["stages"][stage].update(changes)

    return doctor


def netstat(namespace: str, counter: str) -> Doctor:
    """The kernel counted one more."""

    def doctor(documents: Documents) -> None:
        documents["sockets"]["after"][namespace][counter] += 1

    return doctor


def wire(namespace: str, rule: str, value: int | None) -> Doctor:
    """A node's link carried other packets; None: as many as before the cell."""

    def doctor(documents: Documents) -> None:
        before = documents["wire"]["before"][namespace]["rules"][rule]
        documents["wire"]["after"][namespace]["rules"][rule] = before + (value or 0)

    return doctor


def put(*place: str | int) -> Callable[[object], Doctor]:
    """Another value at a place in the documents."""

    def with_value(value: object) -> Doctor:
        def doctor(documents: Documents) -> None:
            content: Any = documents
            for key in place[:-1]:
                content = content[key]
            content[place[-1]] = value

        return doctor

    return with_value


def entry(namespace: str, port: int, reply_port: int) -> Doctor:
    """One more tracked connection."""

    def doctor(documents: Documents) -> None:
        documents["conntrack"]["entries"][namespace].append(
            {"src": "10.9.9.9", "dst": "10.9.9.8", "dport": port, "reply_src": "x", "reply_sport": reply_port}
        )
        documents["conntrack"]["counted"][namespace] += 1

    return doctor


def forget_entry(namespace: str) -> Doctor:
    """One tracked connection fewer."""

    def doctor(documents: Documents) -> None:
        documents["conntrack"]["entries"][namespace].pop()
        documents["conntrack"]["counted"][namespace] -= 1

    return doctor


def row(node: str, direction: str, number: int, **changes: object) -> Doctor:
    """A proxy wrote something else into its journal of a connection of that direction."""

    def doctor(documents: Documents) -> None:
        rows = documents["journal"]["proxies"][node]["rows"]
        at = [i for i, line in enumerate(rows) if line.startswith(direction)][number]
        found = dict(zip(FIELDS, rows[at].split(" "), strict=True)) | changes
        rows[at] = " ".join(str(found[name]) for name in FIELDS)

    return doctor


def forget_row(node: str, number: int) -> Doctor:
    """A proxy never saw a connection."""

    def doctor(documents: Documents) -> None:
        documents["journal"]["proxies"][node]["rows"].pop(number)

    return doctor


def one_more_row(documents: Documents) -> None:
    """The client opened a connection that no sample tells of."""
    rows = documents["journal"]["proxies"]["a"]["rows"]
    found = dict(zip(FIELDS, rows[-1].split(" "), strict=True)) | {"source": "10.244.0.2:39999"}
    rows.append(" ".join(str(found[name]) for name in FIELDS))


def opened(stage: str, more: int) -> Doctor:
    """The load opened other connections than it was asked to."""

    def doctor(documents: Documents) -> None:
        documents["answers"]["stages"][stage]["opened"] += more

    return doctor


def answered(origin: str) -> Doctor:
    """One answer of the request stage came from elsewhere."""

    def doctor(documents: Documents) -> None:
        origins = documents["answers"]["stages"]["requests"]["answers"]
        origins[next(iter(origins))] -= 1
        origins[origin] = 1

    return doctor


def together(*doctors: Doctor) -> Doctor:
    """Several lies at once."""

    def doctor(documents: Documents) -> None:
        for each in doctors:
            each(documents)

    return doctor


def load_times(name: str, more_ns: int) -> Doctor:
    """The load read its clock later than it says (or earlier) at one moment of every connection."""

    def doctor(documents: Documents) -> None:
        for connection in documents["clock"]["connections"]:
            connection[name] += more_ns

    return doctor


STAGES = ("answers", "stages")
OPENED = ("interception", "connections", "conntrack", "tunnel-reuse")

LIES = {
    # name: (configuration, what was doctored, the checks that must fail and no others)
    "rules removed at the end": (
        MESH,
        put("rules", "after", "pod-1-client", "digest")("d0"),
        ["rules-intact"],
    ),
    "rules wrong from the start": (
        MESH,
        together(
            put("rules", "before", "pod-1-client", "digest")("d0"),
            put("rules", "after", "pod-1-client", "digest")("d0"),
        ),
        ["rules-intact"],
    ),
    "a node's rules changed": (NONE, put("rules", "after", "node-a", "digest")("d0"), ["rules-intact"]),
    "rules rewritten as expected": (
        MESH,
        together(
            put("rules", "after", "pod-1-remote", "digest")("d1"),
            put("rules", "after", "pod-1-remote", "expected_digest")("d1"),
        ),
        ["rules-intact"],
    ),
    "somebody else's rule": (
        MESH,
        put("rules", "after", "pod-1-client", "rules", 0, "rule")("foreign"),
        ["rules-intact", "interception"],
    ),
    "a connection passed by redirect": (
        MESH,
        packets("pod-1-client", "redirect-outbound", -1),
        ["interception"],
    ),
    "redirect hit too often": (MESH, packets("pod-1-client", "redirect-outbound", 1), ["interception"]),
    "SYN that nobody opened": (
        MESH,
        packets("pod-1-client", "count-syn", 1, "BENCH_OUTPUT"),
        ["interception"],
    ),
    "SYN past the target's proxy": (
        MESH,
        packets("pod-1-remote", "count-syn", 1, "BENCH_PRERT"),
        ["interception"],
    ),
    "a second leg to the app": (
        MESH,
        packets("pod-1-remote", "count-syn", 1, "BENCH_OUTPUT"),
        ["interception"],
    ),
    "tunnel traffic redirected": (MESH, packets("pod-1-remote", "redirect-inbound", 1), ["interception"]),
    "plaintext past redirect": (INTO_MESH, packets("pod-1-local", "redirect-inbound", -1), ["interception"]),
    "plaintext past tproxy": (
        INTO_MESH_TPROXY,
        packets("pod-1-local", "tproxy-inbound", -1),
        ["interception"],
    ),
    "marked but not diverted": (TPROXY, packets("pod-1-client", "tproxy-outbound", -1), ["interception"]),
    "tproxy hit first packets alone": (
        TPROXY,
        together(
            packets("pod-1-client", "mark-outbound", -60), packets("pod-1-client", "tproxy-outbound", -60)
        ),
        ["interception"],
    ),
    "redirect at a tproxy level": (
        NOTRACK,
        packets("pod-1-client", "redirect-outbound", 1),
        ["interception"],
    ),
    "tproxy at redirect": (MESH, packets("pod-1-local", "tproxy-outbound", 3), ["interception"]),
    "capture at none": (NONE, packets("pod-1-client", "redirect-outbound", 1), ["interception"]),
    "capture of an uncaptured client": (
        INTO_MESH,
        packets("pod-1-plain", "redirect-outbound", 1),
        ["interception"],
    ),
    "SYN to the outside host": (
        OUT_OF_MESH,
        packets("host-outside", "count-syn", 1, "BENCH_PRERT"),
        ["interception"],
    ),
    "hidden connection of the load": (NONE, opened("requests", -1), ["interception"]),
    "keep-alive where each should connect": (
        MESH,
        opened("probe", 1),
        ["interception", "connections", "conntrack"],
    ),
    "proxy accepted another connection": (MESH, stat("a", "accepted_outbound"), ["connections", "decisions"]),
    "proxy lost a record": (MESH, stat("a", "completed_outbound_hbone", -1), ["connections"]),
    "mesh traffic passed through in plaintext": (
        MESH,
        together(stat("a", "completed_outbound_hbone", -1), stat("a", "completed_outbound_passthrough")),
        ["connections"],
    ),
    "a connection denied": (MESH, stat("b", "connects_denied"), ["connections"]),
    "a connection failed": (OUT_OF_MESH, stat("a", "completed_outbound_failed"), ["connections"]),
    "streams lost between proxies": (MESH, stat("b", "connects_received", -1), ["connections", "decisions"]),
    "a proxy beside the path at work": (SAME_NODE, stat("b", "streams_opened"), ["connections"]),
    "a proxy at work at none": (NONE, stat("a", "accepted_outbound"), ["connections", "decisions"]),
    "an entry that the dump does not show": (
        NONE,
        put("conntrack", "counted", "pod-1-client")(1),
        ["conntrack"],
    ),
    "entry more": (MESH, entry("pod-1-client", 15008, 15008), ["conntrack"]),
    "T75: a connection that found no room in the table": (MESH, forget_entry("pod-1-remote"), ["conntrack"]),
    "tracked in the node": (MESH, entry("node-a", 15008, 15008), ["conntrack"]),
    "tracked in the underlay": (MESH, entry("underlay", 8080, 8080), ["conntrack"]),
    "tracked with notrack": (NOTRACK, entry("pod-1-client", 8080, 8080), ["conntrack"]),
    "tracked at none": (NONE, entry("pod-1-remote", 8080, 8080), ["conntrack"]),
    "tracked in a bystander": (MESH, entry("pod-1-plain", 8080, 8080), ["conntrack"]),
    "entry of no known leg": (MESH, entry("pod-1-client", 53, 53), ["conntrack"]),
    "T77: mappings of an earlier cell": (MESH, put("conntrack", "before", "pod-1-client")(4), ["conntrack"]),
    "tunnels left from the last cell": (MESH, stat("b", "tunnels_inbound", 1, "before"), ["tunnel-reuse"]),
    "reuse off, yet a tunnel shared": (
        NO_REUSE,
        stat("a", "tunnels_opened", -1, "probed", "after"),
        ["tunnel-reuse", "interception", "conntrack", "handshakes", "states"],
    ),
    "reuse on, yet a tunnel per connection": (
        MESH,
        stat("a", "tunnels_opened", 8),
        ["tunnel-reuse", "interception", "conntrack", "handshakes"],
    ),
    "one stream per tunnel, yet a tunnel shared": (
        ONE_STREAM,
        stat("a", "tunnels_opened", -1),
        ["tunnel-reuse", "interception", "conntrack", "handshakes"],
    ),
    "ten streams per tunnel asked, a hundred allowed": (
        replace(MESH, streams_per_tunnel=10),
        together(
            *(put("tunnels", reading, "a", "streams_per_tunnel")(100) for reading in ("before", "after"))
        ),
        ["switches"],
    ),
    "a window changed during the cell": (
        replace(MESH, window_kib=64),
        put("tunnels", "after", "b", "window_kib")(4096),
        ["switches"],
    ),
    "policies rejected by a proxy": (
        replace(MESH, policies=100),
        together(*(put("tunnels", reading, "b", "policies")(0) for reading in ("before", "after"))),
        ["switches"],
    ),
    "policies of the last cell still there": (
        MESH,
        together(*(put("tunnels", reading, "a", "policies")(101) for reading in ("before", "after"))),
        ["switches"],
    ),
    "a tunnel nobody accepted": (
        MESH,
        stat("b", "accepted_inbound", -1),
        ["tunnel-reuse", "interception", "handshakes"],
    ),
    "a tunnel out of the mesh": (
        OUT_OF_MESH,
        stat("a", "tunnels_opened"),
        ["tunnel-reuse", "handshakes"],
    ),
    "resumed instead of a full handshake": (
        MESH,
        together(stat("a", "tls_handshakes_client", -1), stat("a", "tls_resumptions")),
        ["handshakes"],
    ),
    "resumed at the server": (NO_REUSE, stat("b", "tls_resumptions"), ["handshakes"]),
    "a handshake without a tunnel": (MESH, stat("b", "tls_handshakes_server"), ["handshakes"]),
    "warm probe opened a tunnel": (
        MESH,
        stat("a", "tunnels_opened", 1, "probed"),
        ["states"],
    ),
    "cold probe found a tunnel": (
        MESH,
        put(*STAGES, "probe", "residual_tunnels")([{"connection": 4, "socket": "s", "tunnels_outbound": 1}]),
        ["states"],
    ),
    # of the walk's journal: row 0 opened the tunnel for warm probes, then a cold and a warm one take turns
    "a warm label on a connection that opened its tunnel": (
        MESH,
        together(
            row("a", "outbound", 2, stream=1, tunnel_ns=10),
            row("b", "inbound", 2, stream=1, tunnel_ns=-10),
        ),
        ["first-packets"],
    ),
    "a cold label on a tunnel that was there": (
        NO_REUSE,
        together(
            row("a", "outbound", 0, stream=9, tunnel_ns=-(10**9)),
            row("b", "inbound", 0, stream=9, tunnel_ns=-(10**9)),
        ),
        ["first-packets"],
    ),
    "a tunnel that only one proxy calls new": (MESH, row("b", "inbound", 1, stream=5), ["first-packets"]),
    "a tunnel on the way out of the mesh": (
        OUT_OF_MESH,
        row("a", "outbound", 0, stream=1, tunnel_ns=10),
        ["first-packets"],
    ),
    "a first packet that the source proxy never saw": (MESH, forget_row("a", 1), ["first-packets"]),
    "a first packet that the destination proxy never saw": (MESH, forget_row("b", 1), ["first-packets"]),
    "a first packet on a connection from before": (
        MESH,
        row("a", "outbound", 1, accepted_ns=10**12 - 1),
        ["first-packets"],
    ),
    "another connection at the backend": (
        INTO_MESH,
        row("a", "inbound", 0, own_end="10.244.1.3:9"),
        ["first-packets"],
    ),
    "another connection past no proxy": (NONE, put("journal", "seen", 0)("40000 40001"), ["first-packets"]),
    "a later request on a connection of its own": (MESH, one_more_row, ["first-packets"]),
    "a state that does not exist": (
        OUT_OF_MESH,
        put(*STAGES, "probe", "asked", "states", 0, "state")("warm"),
        ["states", "samples"],
    ),
    "plaintext between the nodes": (MESH, wire("node-a", "wire-app-dport", 1), ["wire-split"]),
    "no tunnel packets at the far node": (MESH, wire("node-b", "wire-hbone-sport", None), ["wire-split"]),
    "same node over the wire": (SAME_NODE, wire("node-a", "wire-hbone-dport", 2), ["wire-split"]),
    "tunnel out of the mesh on the wire": (
        OUT_OF_MESH,
        wire("node-a", "wire-hbone-dport", 2),
        ["wire-split"],
    ),
    "no plaintext out of the mesh": (OUT_OF_MESH, wire("node-a", "wire-app-sport", None), ["wire-split"]),
    "wrong nonce": (MESH, put(*STAGES, "rate", "verification", "wrong_nonce")(1), ["answers"]),
    "wrong pod": (MESH, put(*STAGES, "probe", "verification", "wrong_pod")(1), ["answers"]),
    "wrong node": (MESH, put(*STAGES, "probe", "verification", "wrong_node")(1), ["answers"]),
    "source address lost": (MESH, put(*STAGES, "requests", "verification", "wrong_source")(1), ["answers"]),
    "a byte flipped in bulk": (MESH, put(*STAGES, "transfer", "verification", "wrong_bytes")(1), ["answers"]),
    "another pod answered": (MESH, answered("local/a/10.244.0.2"), ["answers"]),
    "nothing verified": (MESH, put(*STAGES, "transfer", "verification", "checked")(0), ["answers"]),
    "failures among the answers": (
        MESH,
        put(*STAGES, "requests", "errors")({"ECONNRESET": 2}),
        ["answers", "connections"],
    ),
    "rows lost": (MESH, put(*STAGES, "rate", "rows")(21), ["samples"]),
    "stray packets": (MESH, put("wire", "after", "pod-1-remote", "stray")(1004), ["quiet-links"]),
    "TCP of no measured port": (MESH, wire("node-b", "wire-other", 1), ["quiet-links"]),
    "listen queue dropped": (MESH, netstat("pod-1-remote", "TcpExt.ListenDrops"), ["accept-queues"]),
    "listen queue overflowed": (
        OUT_OF_MESH,
        netstat("host-outside", "TcpExt.ListenOverflows"),
        ["accept-queues"],
    ),
    "fast open": (NONE, netstat("pod-1-client", "TcpExt.TCPFastOpenActive"), ["accept-queues"]),
    "policy skipped": (MESH, stat("b", "policy_evaluations", -1), ["decisions"]),
    "policy skipped for plaintext": (INTO_MESH, stat("a", "policy_evaluations", -1), ["decisions"]),
    "policy skipped inside the proxy": (HANDED_OVER, stat("a", "policy_evaluations", -1), ["decisions"]),
    "dialled instead of handed over": (
        HANDED_OVER,
        packets("pod-1-client", "count-syn", 24, "BENCH_OUTPUT"),
        ["interception"],
    ),
    "IPv4 in a cell of IPv6": (
        MESH_IPV6,
        packets("pod-1-client", "count-tcp", 3, "BENCH_OUTPUT"),
        ["ip-family"],
    ),
    "an IPv4 entry in a cell of IPv6": (
        MESH_IPV6,
        put("conntrack", "entries", "pod-1-client", 0, "dst")("10.244.1.2"),
        ["ip-family"],
    ),
    "canary unanswered": (MESH, put("canary", "right")(0), ["canary"]),
    "canary answered without a tunnel": (OUT_OF_MESH, put("canary", "streams")(0), ["canary"]),
    "canary never asked": (MESH, put("canary", "asked")(0), ["canary"]),
    "policy let through whom it denies": (
        MESH,
        together(put("refusal", "answer_bytes")(310), put("refusal", "ended")("answered")),
        ["refusal"],
    ),
    "refused by a wall and not by policy": (
        TPROXY,
        together(put("refusal", "connected")(False), put("refusal", "ended")("ETIMEDOUT")),
        ["refusal"],
    ),
    "a denial that nobody counted": (MESH, put("refusal", "growth", "connects_denied")(0), ["refusal"]),
    "a denial without its access line": (MESH, put("refusal", "growth", "flagged_deny")(0), ["refusal"]),
    "nonce readable in a tunnel": (MESH, put("nonces", "cell", "b", "hits")(1), ["nonce-in-clear"]),
    "nonce readable beside one node's path": (
        SAME_NODE,
        put("nonces", "cell", "a", "hits")(1),
        ["nonce-in-clear"],
    ),
    "a deaf listener": (MESH, put("nonces", "control", "nodes", "a", "hits")(0), ["nonce-in-clear"]),
    "a listener that fell asleep": (MESH, put("nonces", "cell", "b", "frames")(0), ["nonce-in-clear"]),
    "plaintext that cannot be read": (
        OUT_OF_MESH,
        put("nonces", "cell", "a", "hits")(0),
        ["nonce-in-clear"],
    ),
    "plaintext that cannot be read at none": (
        NONE,
        put("nonces", "cell", "b", "hits")(0),
        ["nonce-in-clear"],
    ),
    "a clock that is off": (
        MESH,
        together(*(load_times(f"{name}_ns", 50_000) for name in ("start", "connected", "first_byte"))),
        ["clock"],
    ),
    "a connect whose end is told late": (
        MESH,
        together(load_times("connected_ns", 60_000), load_times("first_byte_ns", 60_000)),
        ["clock"],
    ),
    "packets that nobody saw": (NONE, put("clock", "asked")(31), ["clock"]),
    "nodes nearer than the cell says": (FAR, put("delay", "rtt_ns")(4_000_000), ["delay"]),
    "a packet that came early": (FAR, put("delay", "trips_ns", 3)(900_000), ["delay"]),
    "packets that all came late": (FAR, put("delay", "trips_ns")([19_000_000] * 10), ["delay"]),
    "a packet lost on the way": (FAR, put("delay", "lost")(1), ["delay"]),
    "packets that went past the delay": (FAR, put("delay", "carried")(0), ["delay"]),
    "a delay left from another cell": (MESH, put("delay", "rtt_ns")(4_000_000), ["delay"]),
    "routed twice": (OUT_OF_MESH, stat("a", "route_resolutions"), ["decisions"]),
    "an open loop kept 85 % of its rate": (MESH, health("rate", scheduled=RATE_ROWS + 4), ["generator"]),
    "Locust saw fewer requests": (
        MESH,
        put(*STAGES, "requests", "locust")({"requests": REQUESTS_ROWS - 1}),
        ["samples"],
    ),
    "the generator stood still": (MESH, health("rate", lag_p99_ns=200_000_000), ["generator"]),
    "turns that overlap": (MESH, put("turns", "stages", "requests", "overlap_ns")(1), ["turns"]),
    "probes that overlap": (MESH, put("turns", "stages", "probe", "overlap_ns")(1), ["turns"]),
    "an open loop on all lanes at once": (MESH, put("turns", "stages", "rate", "overlap_ns")(9), ["turns"]),
    "a lane that is always first": (MESH, put("turns", "stages", "requests", "places")([40, 0]), ["turns"]),
    "a proxy of the round before": (
        MESH,
        put("starts", "proxies", "ztunnel-1-b")(10**12 - 10**9),
        ["started-anew"],
    ),
    "a worker did not report": (
        MESH,
        health("requests", workers={"asked": 2, "reported": 1, "cpu_ns": [1]}),
        ["generator"],
    ),
}


@pytest.mark.parametrize(("configuration", "doctor", "expected"), LIES.values(), ids=LIES)
def test_lie_is_found_by_the_right_check(
    configuration: Configuration, doctor: Doctor, expected: list[str]
) -> None:
    case = honest(configuration)
    documents = copy.deepcopy(dict(case.documents))
    doctor(documents)

    verdict = evaluate(replace(case, documents=documents))

    invalid = {check.name for check in verdict.checks if check.status is CheckStatus.INVALID}
    assert invalid == set(expected), [check.reason for check in verdict.checks]
    assert verdict.status is CellStatus.INVALID


@pytest.mark.parametrize("name", sorted({name for _, _, names in LIES.values() for name in names}))
def test_reasons_hold_figures(name: str) -> None:
    configuration, doctor, _ = next(lie for lie in LIES.values() if name in lie[2])
    case = honest(configuration)
    documents = copy.deepcopy(dict(case.documents))
    doctor(documents)

    (check,) = [each for each in evaluate(replace(case, documents=documents)).checks if each.name == name]

    assert any(character.isdigit() for character in check.reason)
    assert check.numbers


def test_every_check_was_seen_failing() -> None:
    from harness.evidence import checks  # noqa: PLC0415  # beside the table that it is held against

    assert sorted({name for _, _, names in LIES.values() for name in names}) == list(checks.known())


@pytest.mark.parametrize("key", ["lost", "open"])
def test_a_journal_with_gaps_leaves_the_labels_open(key: str) -> None:
    case = honest(MESH)
    documents = copy.deepcopy(dict(case.documents))
    documents["journal"]["proxies"]["a"][key] = 3

    verdict = evaluate(replace(case, documents=documents))

    assert [("first-packets", CheckStatus.UNKNOWN)] == [
        (check.name, check.status) for check in verdict.checks if check.status is not CheckStatus.VALID
    ]
    assert verdict.status is CellStatus.UNKNOWN


def test_without_a_journal_the_labels_are_not_applicable() -> None:
    """Envoy: nothing is invented."""
    case = honest(MESH)
    documents = copy.deepcopy(dict(case.documents))
    documents["journal"] |= {"proxies": {}, "unproven": ["a", "b"]}

    (check,) = [
        each for each in evaluate(replace(case, documents=documents)).checks if each.name == "first-packets"
    ]

    assert check.status is CheckStatus.NOT_APPLICABLE
    assert "keeps no times of single connections" in check.reason


def test_labels_swapped_in_the_samples_are_found() -> None:
    """The saved samples say cold where the connection was warm, and the other way round: the counts agree."""
    case = honest(MESH)
    other = {"cold": "warm", "warm": "cold"}
    swapped = tuple(replace(each, state=other[each.state]) for each in case.first_packets)

    verdict = evaluate(replace(case, first_packets=swapped))

    assert ["first-packets"] == [
        check.name for check in verdict.checks if check.status is CheckStatus.INVALID
    ]


@pytest.mark.parametrize("field", ["rows", "failed", "first"])
def test_samples_that_differ_from_what_was_recorded(field: str) -> None:
    case = honest(MESH)
    counts = dict(getattr(case.samples, field))
    name = "cold" if field == "first" else "requests"
    counts[name] = counts[name] + 4

    verdict = evaluate(replace(case, samples=replace(case.samples, **{field: counts})))

    assert [check.name for check in verdict.checks if check.status is CheckStatus.INVALID] == ["samples"]


def test_retransmitted_syn_is_no_lie() -> None:
    case = honest(MESH)
    documents = copy.deepcopy(dict(case.documents))
    packets("pod-1-client", "count-syn", 1, "BENCH_OUTPUT")(documents)
    packets("pod-1-remote", "count-syn", 1, "BENCH_PRERT")(documents)
    netstat("pod-1-client", "TcpExt.TCPSynRetrans")(documents)

    verdict = evaluate(replace(case, documents=documents))

    assert verdict.status is CellStatus.VALID


@pytest.mark.parametrize(
    ("level", "said"), [("redirect", "tproxy"), ("tproxy", "tproxy-notrack"), ("tproxy-notrack", "tproxy")]
)
def test_swapped_labels_are_found(level: str, said: str) -> None:
    measured = honest(_configuration(level=Interception(level)))

    verdict = evaluate(replace(measured, configuration=_configuration(level=Interception(said))))

    assert verdict.status is CellStatus.INVALID


def test_a_wall_clock_that_was_set_proves_nothing_about_the_loads() -> None:
    """Stamps are on it; the load's times are not, and may be right."""
    case = honest(MESH)
    documents = copy.deepcopy(dict(case.documents))
    documents["clock"]["after"]["wall_ns"] += 1_000_000

    verdict = evaluate(replace(case, documents=documents))

    assert {check.name: check.status for check in verdict.checks}["clock"] is CheckStatus.UNKNOWN
    assert verdict.status is CellStatus.UNKNOWN


def test_a_slow_machine_does_not_set_its_clocks_apart() -> None:
    """What each way takes is not between the clocks: 200 us more before the SYN, and after the SYN-ACK."""
    case = honest(MESH)
    documents = copy.deepcopy(dict(case.documents))
    load_times("start_ns", -200_000)(documents)
    load_times("connected_ns", 200_000)(documents)
    load_times("first_byte_ns", 400_000)(documents)

    assert evaluate(replace(case, documents=documents)).status is CellStatus.VALID


def test_a_load_that_waited_for_a_processor_does_not_set_its_clocks_apart() -> None:
    """On the way back alone, as a starved machine has it, and for less than half of the connections."""
    case = honest(MESH)
    documents = copy.deepcopy(dict(case.documents))
    for connection in documents["clock"]["connections"][::2]:
        connection["connected_ns"] += 200_000
        connection["first_byte_ns"] += 200_000

    assert evaluate(replace(case, documents=documents)).status is CellStatus.VALID


def _case(case: Case, **documents: object) -> Case:
    return replace(case, documents={**case.documents, **documents})


@pytest.mark.parametrize("source", sorted(honest(MESH).documents))
@pytest.mark.parametrize(
    "instead",
    [None, [], {}, {"schema_version": 2}, {"schema_version": 1, "source": "other"}],
    ids=["null", "list", "empty", "future", "foreign"],
)
def test_unreadable_source_makes_the_cell_unknown(source: str, instead: object) -> None:
    verdict = evaluate(_case(honest(MESH), **{source: instead}))

    assert verdict.status is CellStatus.UNKNOWN
    assert CheckStatus.INVALID not in {check.status for check in verdict.checks}
    (presence,) = [check for check in verdict.checks if check.name == "evidence"]
    assert presence.status is CheckStatus.UNKNOWN
    assert source in presence.reason


@pytest.mark.parametrize("source", sorted(honest(MESH).documents))
def test_missing_file_makes_the_cell_unknown(source: str) -> None:
    case = honest(MESH)

    verdict = evaluate(
        replace(case, documents={name: case.documents[name] for name in case.documents if name != source})
    )

    assert verdict.status is CellStatus.UNKNOWN


def test_a_distance_that_nobody_measured_makes_the_cell_unknown() -> None:
    case = honest(FAR)
    documents = copy.deepcopy(dict(case.documents))
    put("delay", "trips_ns")([])(documents)

    assert CellStatus.UNKNOWN is evaluate(replace(case, documents=documents)).status


def _leaves(content: Any, place: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    if isinstance(content, dict) and content:
        return [leaf for key, value in content.items() for leaf in _leaves(value, (*place, key))]
    return [place]


HARMLESS = {
    # what is kept for the reader and for later checks, and decides nothing here
    *("links", "load_1", "cpu_pressure_us", "throttled", "op", "later_requests", "rate_hz"),
    *("late", "unsent", "lag_p99_ns", "scheduled", "loop", "reuse", "same_node", "bytes", "waited_ns"),
}


@pytest.mark.parametrize("source", sorted(honest(MESH).documents))
def test_no_field_is_taken_for_granted(source: str) -> None:
    """A string in place of any number, or nothing at all in its place, is never valid."""
    case = honest(MESH)
    believed = []
    for place in _leaves(case.documents[source]):
        if HARMLESS & set(place):
            continue
        documents = copy.deepcopy(dict(case.documents))
        put(source, *place)({"what": "is this"})(documents)
        if evaluate(replace(case, documents=documents)).status is CellStatus.VALID:
            believed.append(place)

    assert believed == []
