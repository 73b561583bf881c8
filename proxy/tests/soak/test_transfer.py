"""A little of what `make soak` does with 5 GiB."""

from __future__ import annotations

import asyncio

from proxy.relay.outcome import End
from proxy.tests.soak.transfer import Transfer, transfer


def test_what_was_sent_arrives() -> None:
    done = asyncio.run(transfer(50_000_017, seed=1, patience_s=60))

    assert (done.received, done.problems()) == (50_000_017, [])


def test_what_is_missing_or_cut_is_told() -> None:
    done = Transfer(sent=2, received=1, same=False, ends=(End.CLEAN, End.FAR_RESET), seconds=1.0)

    assert len(done.problems()) == 2
