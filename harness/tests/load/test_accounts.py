"""Whose time it was: from one control operation's answer to the next one's."""

from __future__ import annotations

from harness.load.accounts import CONTROL, Accounts


def _answer(before: int, after: int) -> dict[str, dict[str, int]]:
    return {
        "used_before": {"cpu_ns": before, "switches": before // 10},
        "used_after": {"cpu_ns": after, "switches": after // 10},
    }


def test_a_probe_is_charged_what_lies_between_two_operations_and_not_what_they_do() -> None:
    accounts = Accounts(2)
    for proxy in range(2):
        accounts.read(proxy, _answer(100, 150), "cold")
        accounts.read(proxy, _answer(250, 300), "warm")
        accounts.read(proxy, _answer(340, 340), CONTROL)
        accounts.read(proxy, _answer(350, 350), None)

    assert accounts.document() == {
        "cold": {"probes": 1, "cpu_ns": 2 * 100, "switches": 2 * 10},
        "warm": {"probes": 1, "cpu_ns": 2 * 40, "switches": 2 * 4},
        CONTROL: {"probes": 1, "cpu_ns": 2 * 10, "switches": 2 * 1},
    }


def test_a_proxy_that_says_nothing_has_no_account() -> None:
    accounts = Accounts(1)
    accounts.read(0, {"tunnels_outbound": 0}, "cold")
    accounts.read(0, {"tunnels_outbound": 0}, None)

    assert accounts.document() == {}
