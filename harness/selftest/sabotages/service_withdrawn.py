"""The proxies do not know the canary's service, so that nobody answers at its address (M08)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.controlplane.document import document
from harness.selftest.harm import CLIENT, Harm
from harness.topology.canary import ADDRESS, PORT

FIRES = "canary"
BECAUSE = "canary answers from"


class Sabotage(Harm):
    """They pass the request on to where it says, which is nowhere."""

    @contextmanager
    def proving(self) -> Iterator[None]:
        """A mesh document without the service, and a workload less that serves it."""
        mesh = document(self.lane.topology)
        without = {
            **mesh,
            "services": [],
            "workloads": [{**workload, "services": {}} for workload in mesh["workloads"]],
        }
        with self.other_mesh(without, {"pod": CLIENT, "address": str(ADDRESS), "port": PORT}):
            yield
