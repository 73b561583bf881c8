"""T16: how many connections there may be."""

from __future__ import annotations

import resource
from ipaddress import ip_address

from proxy.admission import DESCRIPTORS, PER_POD, RESERVE, Admission, by_descriptors, descriptors
from proxy.config import Relay, Settings

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
    for each in DESCRIPTORS.values():
        for limit in (1024, 4096, 1 << 20):
            assert by_descriptors(limit, each) * each + RESERVE <= limit
    assert by_descriptors(64, 2) * 2 == 32


def test_pods_and_splicing_take_descriptors_too() -> None:
    """P10: what a pod holds, its connections cannot have; pipes count as the sockets do."""
    admission = Admission(total=40, per_source=40, per_pod=PER_POD / 2)
    admission.pods = 3
    assert [admission.take(ONE) for _ in range(11)] == [None] * 10 + ["10 connections"]
    admission.pods = 100
    admission.live = 0
    assert admission.take(ONE) is None

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        copied, spliced = (Admission.of(Settings(relay=relay)) for relay in (Relay.COPY, Relay.SPLICE))
        assert spliced.total * 6 <= copied.total * 2 < (spliced.total + 1) * 6 + 2
        assert (copied.per_pod, spliced.per_pod) == (PER_POD / 2, PER_POD / 6)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_limits_are_what_is_set_or_what_the_process_may_open() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        derived = Admission.of(Settings())
        assert derived.total == by_descriptors(descriptors(), 2)
        assert derived.per_source == derived.total // 2
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    given = Admission.of(Settings(max_connections=7, max_connections_per_source=3))

    assert (given.total, given.per_source, given.per_pod) == (7, 3, 0)
