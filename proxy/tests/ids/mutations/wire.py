"""What keeps ordinary traffic apart from floods, and slow readers from their neighbours: P02 to P44."""

from __future__ import annotations

from functools import partial
from typing import Any

from proxy.hbone.receiver import Receiver
from proxy.net.resets import ResetWatch
from proxy.tests.ids.mutations.mutation import Mutation, silence, wrap


def _every_reset_counts() -> None:
    def received(original: Any, self: Receiver, *given: Any) -> None:
        self._resets.take(self._now)
        original(self, *given)

    wrap(Receiver, "_received_reset", received)


MUTATIONS = [
    Mutation(id="P38", guard="resets are watched for", apply=partial(silence, ResetWatch, "add")),
    Mutation(id="P02", guard="resets of connected streams", apply=_every_reset_counts),
]
