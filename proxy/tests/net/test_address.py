"""Addresses that remember."""

from __future__ import annotations

import copy
from ipaddress import ip_address

import pytest

from proxy.net.address import address, unscoped


@pytest.mark.parametrize("text", ["10.0.0.1", "fd00::1", "::1", "255.255.255.255"])
def test_it_is_the_address_in_every_respect(text: str) -> None:
    known, plain = address(text), ip_address(text)

    assert (known, hash(known), str(known), f"{known}") == (plain, hash(plain), str(plain), f"{plain}")
    assert {known: 1}[plain] == {plain: 1}[known] == 1
    assert copy.deepcopy(known) == plain


def test_a_scope_is_kept_of_link_local_addresses_alone() -> None:
    """P25: by number, as the interface's name is another one in another namespace."""
    scoped = address("fe80::1%eth0", 7)

    assert (str(scoped), address("fd00::1", 7), address("10.0.0.1", 7)) == (
        "fe80::1%7",
        address("fd00::1"),
        address("10.0.0.1"),
    )
    assert unscoped(scoped) == address("fe80::1") != scoped
    assert unscoped(address("fd00::1")) is address("fd00::1")


@pytest.mark.parametrize(
    ("text", "same_as"),
    [("::ffff:10.0.0.1", "10.0.0.1"), ("fe80::1%eth0", "fe80::1"), ("FD00::0:1", "fd00::1")],
)
def test_one_address_has_one_spelling(text: str, same_as: str) -> None:
    assert str(address(text)) == same_as
    assert address(text) == address(same_as)
