"""T16: how many connections there may be."""

from __future__ import annotations

import resource
from ipaddress import ip_address

from proxy.admission import DESCRIPTORS, RESERVE, Admission, by_descriptors, descriptors
from proxy.config import Settings

ONE, OTHER = ip_address("10.0.0.1"), ip_address("10.0.0.2")


def test_one_source_cannot_take_what_all_need() -> None:
    admission = Admission(total=3, per_source=2)
    assert admission.take(ONE) is None
    assert admission.take(ONE) is None
    assert admission.take(ONE) == "2 connections from 10.0.0.1"
    assert admission.take(OTHER) is None
    assert admission.take(OTHER) == "3 connections"
    admission.release(ONE)

    assert admission.take(OTHER) is None
    assert admission.live == 3


def test_descriptors_are_left_for_everything_else() -> None:
    """So that admin and metrics still answer when every connection is taken."""
    for limit in (1024, 4096, 1 << 20):
        assert by_descriptors(limit) * DESCRIPTORS + RESERVE <= limit
    assert by_descriptors(64) * DESCRIPTORS == 32


def test_limits_are_what_is_set_or_what_the_process_may_open() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        derived = Admission.of(Settings())
        assert derived.total == by_descriptors(descriptors())
        assert derived.per_source == derived.total // 2
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    given = Admission.of(Settings(max_connections=7, max_connections_per_source=3))

    assert (given.total, given.per_source) == (7, 3)
