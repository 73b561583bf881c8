"""Rules in the kernel: what is read back is what was written, by both appliers, and by nobody else's eyes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from harness.agent import capture, netns
from harness.agent import probe as probing
from harness.agent.appliers import Applier, ApplyError, Line, digest_of, verify
from harness.agent.appliers.restore import Restore
from harness.agent.capture import APPLIERS, bring, load
from harness.agent.probe import APPLIER_ENV, probed
from harness.agent.rules import captured, levels
from harness.agent.rules.counting import node
from harness.agent.rules.levels import names
from harness.agent.rules.model import TABLES, TABLES6, RuleSet, Table, is_ipv6, kernel_name
from harness.agent.wanted import Wanted
from harness.agent.workers import Work, Workers
from harness.tests.agent.conftest import MakeNamespace

pytestmark = pytest.mark.netns

FOREIGN = ("-t", "mangle", "-A", "PREROUTING")


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    """Processes that enter namespaces, for this module."""
    with Workers() as started:
        yield started


def run(workers: Workers, path: str, function: str, **arguments: object) -> object:
    """One call of this module inside a namespace."""
    work = Work(namespace=path, path=path, function=f"{__name__}:{function}", arguments=arguments)
    return workers.run([work])[0]


# What follows is called inside namespaces


def wanted(name: str, filler_rules: int = 0) -> Wanted:
    """What a captured pod of a dual-stack topology carries at a level."""
    return captured(name, filler_rules=filler_rules, ipv6=True)


def saved(applier: str, *tables: str) -> list[str]:
    """The rules as the iptables programs print them, which no code of ours has touched."""
    backend = "legacy" if applier == "python-iptables" else "nft"
    lines: list[str] = []
    for table in tables:
        program = "ip6tables" if is_ipv6(table) else "iptables"
        command = [f"{program}-{backend}-save", "-t", kernel_name(table)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        lines += [f"{table} {line}" for line in done.stdout.splitlines() if line.startswith("-A")]
    return lines


def walked(applier: str) -> dict[str, tuple[bool, bool, list[str], list[str]]]:
    """Every level after every other, in one namespace: digests, and the programs' view of it."""
    found = {}
    order = [*names(), *reversed(names()), *names()[::2], *names()[1::2]]
    for name in order:
        target = wanted(name)
        carried = bring(applier=applier, wanted=target)
        expected = [f"{table} -A {chain} {text}".rstrip() for table, chain, _, text in target.rules.lines()]
        seen = saved(applier, *TABLES, *TABLES6)
        again = bring(applier=applier, wanted=target)
        found[name] = (
            carried.digest == target.rules.digest,
            carried == again and seen == saved(applier, *TABLES, *TABLES6),
            sorted(expected),
            sorted(seen),
        )
    return found


def beside_foreign(applier: str) -> tuple[list[str], list[str], bool]:
    """What stays of rules that are not ours, and whether the digest betrays them."""
    backend = "legacy" if applier == "python-iptables" else "nft"
    subprocess.run([f"iptables-{backend}", *FOREIGN, "-s", "198.51.100.7", "-j", "DROP"], check=True)
    subprocess.run([f"ip6tables-{backend}", *FOREIGN, "-s", "2001:db8::7", "-j", "DROP"], check=True)
    before = saved(applier, "mangle", "mangle6")
    for name in names():
        carried = bring(applier=applier, wanted=wanted(name))
    hidden = carried.digest == wanted(name).rules.digest
    load(applier).apply(RuleSet(tables=tuple(Table(name=name) for name in (*TABLES, *TABLES6))))
    return before, saved(applier, "mangle", "mangle6"), hidden


def after_removal(applier: str, program: str) -> tuple[str, str]:
    """The digest before and after somebody else removes one rule."""
    backend = "legacy" if applier == "python-iptables" else "nft"
    before = bring(applier=applier, wanted=wanted("redirect")).digest
    subprocess.run([f"{program}-{backend}", "-t", "nat", "-D", "ISTIO_OUTPUT", "1"], check=True)
    return before, digest_of(load(applier).read((*TABLES, *TABLES6)))


def filled(applier: str, level: str, count: int) -> tuple[bool, bool, list[Line]]:
    """Filler rules, whole and with one of them gone."""
    backend = "legacy" if applier == "python-iptables" else "nft"
    target = wanted(level, count)
    whole = bring(applier=applier, wanted=target).digest == target.rules.digest
    table = levels.level(level).filler_table
    for program in ("iptables", "ip6tables"):
        subprocess.run([f"{program}-{backend}", "-t", table, "-D", "BENCH_FILLER", "1"], check=True)
    lines = load(applier).read((*TABLES, *TABLES6))
    return (
        whole,
        digest_of(lines) == target.rules.digest,
        [line for line in lines if line.chain == "BENCH_FILLER"],
    )


def policy(name: str, flag: str) -> tuple[list[str], list[str]]:
    """Rules and routes of the policy table of one family at a level, as `ip` prints them."""
    bring(applier="python-iptables", wanted=wanted(name))
    rules = subprocess.run(["ip", flag, "rule"], capture_output=True, text=True, check=True).stdout
    routes = subprocess.run(
        ["ip", flag, "route", "show", "table", "100"], capture_output=True, text=True, check=False
    ).stdout
    return (
        [" ".join(line.split()) for line in rules.splitlines() if "fwmark" in line],
        [" ".join(line.split()) for line in routes.splitlines()],
    )


def tables_on_node() -> list[str]:
    """The legacy tables that exist after a node's rules were written."""
    load("python-iptables").apply(node({1: "10.244.0.0/23", 2: "10.244.2.0/23"}))
    with open("/proc/self/net/ip_tables_names") as names:  # noqa: PTH123 - of this process's own namespace
        return names.read().split()


def held(wait_s: float) -> str:
    """What comes of writing rules while another program holds the lock."""
    with netns.iptables_lock(wait_s=0):
        try:
            with netns.iptables_lock(wait_s=wait_s):
                return "taken twice"
        except netns.LockHeld as exc:
            return str(exc)


def beside_the_other_backend(applier: str) -> tuple[bool, list[str]]:
    """Every level where the other backend of iptables has a rule, and that rule at the end."""
    other = "iptables-nft" if applier == "python-iptables" else "iptables-legacy"
    subprocess.run([other, "-w", *FOREIGN, "-s", "198.51.100.7", "-j", "DROP"], check=True)
    right = all(
        as_expected and same_again and expected == seen
        for as_expected, same_again, expected, seen in walked(applier).values()
    )
    done = subprocess.run([f"{other}-save", "-t", "mangle"], capture_output=True, text=True, check=True)
    return right, [line for line in done.stdout.splitlines() if line.startswith("-A")]


# The tests


@pytest.mark.parametrize("applier", APPLIERS)
def test_levels_switch_in_any_order_and_twice_is_once(
    applier: str, workers: Workers, make_namespace: MakeNamespace
) -> None:
    found = run(workers, make_namespace(), "walked", applier=applier)

    assert isinstance(found, dict)
    assert set(names()) == set(found)
    for name, (as_expected, same_again, expected, seen) in found.items():
        assert expected == seen, name
        assert as_expected, name
        assert same_again, name


@pytest.mark.parametrize("applier", APPLIERS)
def test_foreign_rules_stay_and_are_seen(
    applier: str, workers: Workers, make_namespace: MakeNamespace
) -> None:
    result = run(workers, make_namespace(), "beside_foreign", applier=applier)

    assert isinstance(result, tuple)
    before, after, hidden = result
    assert [
        "mangle -A PREROUTING -s 198.51.100.7/32 -j DROP",
        "mangle6 -A PREROUTING -s 2001:db8::7/128 -j DROP",
    ] == before
    assert before == after
    assert not hidden


@pytest.mark.parametrize("applier", APPLIERS)
def test_rules_of_the_other_backend_are_neither_read_nor_touched(
    applier: str, workers: Workers, make_namespace: MakeNamespace
) -> None:
    """T79, F28: legacy and nft at once, and the warning that iptables then prints."""
    result = run(workers, make_namespace(), "beside_the_other_backend", applier=applier)

    assert (True, ["-A PREROUTING -s 198.51.100.7/32 -j DROP"]) == result


@pytest.mark.parametrize("program", ["iptables", "ip6tables"])
@pytest.mark.parametrize("applier", APPLIERS)
def test_a_rule_that_somebody_removes_changes_the_digest(
    applier: str, program: str, workers: Workers, make_namespace: MakeNamespace
) -> None:
    result = run(workers, make_namespace(), "after_removal", applier=applier, program=program)

    assert isinstance(result, tuple)
    before, after = result
    assert before != after


@pytest.mark.parametrize("applier", APPLIERS)
@pytest.mark.parametrize("level", ["redirect", "tproxy"])
def test_a_thousand_filler_rules_are_there_to_the_last_one(
    level: str, applier: str, workers: Workers, make_namespace: MakeNamespace
) -> None:
    result = run(workers, make_namespace(), "filled", applier=applier, level=level, count=1000)

    assert isinstance(result, tuple)
    whole, still_whole, lines = result
    assert whole
    assert not still_whole
    assert ["-d 192.0.2.1/32 -p tcp x999", "-d 2001:db8::1/128 -p tcp x999"] == [line.text for line in lines]


@pytest.mark.parametrize(
    ("name", "marks"),
    [
        ("none", []),
        ("redirect", ["32764: from all fwmark 0x111/0xfff lookup 100"]),
        (
            "tproxy",
            [
                "32763: from all fwmark 0x112/0xfff lookup 100",
                "32764: from all fwmark 0x111/0xfff lookup 100",
            ],
        ),
    ],
)
@pytest.mark.parametrize("flag", ["-4", "-6"])
def test_policy_routes_follow_the_level(
    flag: str, name: str, marks: list[str], workers: Workers, make_namespace: MakeNamespace
) -> None:
    path = make_namespace()
    for other in names():
        run(workers, path, "policy", name=other, flag=flag)
    result = run(workers, path, "policy", name=name, flag=flag)

    assert isinstance(result, tuple)
    rules, routes = result
    assert marks == rules
    assert [line.partition(" proto")[0] for line in routes] == (["local default dev lo"] if marks else [])


def test_a_nodes_rules_bring_no_table_beyond_their_own(
    workers: Workers, make_namespace: MakeNamespace
) -> None:
    assert ["mangle"] == run(workers, make_namespace(), "tables_on_node")


@pytest.mark.parametrize("applier", APPLIERS)
def test_an_ordinary_users_namespace_takes_them_too(applier: str) -> None:
    call = f"from {__name__} import walked, filled; "
    call += f"print(all(found[0] and found[1] for found in walked({applier!r}).values())); "
    call += f"print(filled({applier!r}, 'redirect', 2000)[0])"
    prepared = 'ip link set lo up && exec "$@"'
    command = ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", prepared, "-", sys.executable]
    done = subprocess.run([*command, "-c", call], capture_output=True, text=True, check=False)

    assert ("True\nTrue\n", 0) == (done.stdout, done.returncode), done.stderr


def test_a_lock_that_is_held_is_named(workers: Workers, make_namespace: MakeNamespace) -> None:
    """T78; F25 where the wait was too short."""
    message = run(workers, make_namespace(), "held", wait_s=0.05)

    assert isinstance(message, str)
    assert "held by another program" in message
    assert "lslocks" in message


@pytest.mark.parametrize("forced", ["", *APPLIERS])
def test_the_probe_says_which_applier_takes_which_levels(forced: str, workers: Workers) -> None:
    found = probed(workers, forced=forced, ipv6=True)

    assert (forced or next(iter(APPLIERS))) == found.applier
    assert (f"{APPLIER_ENV} asks for it" if forced else "the first to be tried") == found.why
    assert dict.fromkeys(names(), "") == found.levels


def test_an_applier_that_is_not_there_is_answered_with_those_that_are(workers: Workers) -> None:
    with pytest.raises(ApplyError, match="unknown applier 'nft'; known: iptables-restore, python-iptables"):
        probed(workers, forced="nft")


class Dying:
    """An applier whose library ends the process, as libiptc does where it is at a loss."""

    name = "dying"

    def apply(self, rules: RuleSet) -> None:  # noqa: ARG002  # the slot's signature
        """No exception: nothing of Python's is asked."""
        os.kill(os.getpid(), signal.SIGKILL)


class Lacking(Restore):
    """An applier that cannot write TPROXY."""

    def apply(self, rules: RuleSet) -> None:
        """Refuses what it does not know."""
        if any("TPROXY" in text for _, _, _, text in rules.lines()):
            raise ApplyError("TPROXY: no such target")
        super().apply(rules)


@pytest.mark.parametrize(
    ("first", "why"),
    [
        (Dying, "first: its process ended with signal 9, without a result"),
        (Lacking, "first does not take tproxy: TPROXY: no such target"),
    ],
)
def test_an_applier_that_dies_or_lacks_a_level_is_passed_over_with_the_reason(
    first: type[Applier], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D20: python-iptables on iptables 1.8.10 and later, or on a kernel with nft alone."""
    monkeypatch.setattr(capture, "APPLIERS", {"first": first, "second": Restore})
    monkeypatch.setattr(probing, "ORDER", tuple(capture.APPLIERS))
    with Workers() as started:
        found = probed(started)

    assert "second" == found.applier
    assert found.why.startswith(why)
    assert dict.fromkeys(names(), "") == found.levels


def test_an_applier_that_lacks_a_level_is_better_than_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "APPLIERS", {"first": Lacking, "second": Dying})
    monkeypatch.setattr(probing, "ORDER", tuple(capture.APPLIERS))
    with Workers() as started:
        found = probed(started)

    assert "first" == found.applier
    assert found.levels["tproxy"].startswith("TPROXY: no such target; refused by itself: mangle ")
    assert "" == found.levels["redirect"]


def test_where_no_applier_works_every_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "APPLIERS", {"first": Dying, "second": Dying})
    monkeypatch.setattr(probing, "ORDER", tuple(capture.APPLIERS))
    with (
        Workers() as started,
        pytest.raises(ApplyError, match=r"\(first: .* signal 9.*; second: .* signal 9"),
    ):
        probed(started)


def test_what_differs_is_named() -> None:
    rules = captured("redirect").rules
    lines = [
        Line(table=table, chain=chain, text=text, packets=0, bytes=0)
        for table, chain, _, text in rules.lines()
    ]

    verify(rules, lines)
    with pytest.raises(ApplyError, match=r"missing .*nat ISTIO_OUTPUT ! -d 127\.0\.0\.1/32 -p tcp"):
        verify(rules, lines[:-1])
