"""Which members may be stopped while a run goes on: pure, the same for every engine."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from harness.engines.api import EngineError


def check(run_id: str, leaving: Collection[str], namespaces: Mapping[str, str]) -> None:
    """Refuse to stop what others depend on.

    Args:
        run_id: The run, for the message.
        leaving: Names of the members that are to be stopped.
        namespaces: Every member that has been started -> its namespace, owners first.

    Raises:
        EngineError: One is not known, or owns a namespace in which a member would be left.
    """
    unknown = sorted(set(leaving) - set(namespaces))
    if unknown:
        raise EngineError(
            f"run {run_id} has no member {', '.join(unknown)}; known: {', '.join(sorted(namespaces))}"
        )
    owners: dict[str, str] = {}
    for name, namespace in namespaces.items():
        owner = owners.setdefault(namespace, name)
        if owner in leaving and name not in leaving:
            raise EngineError(f"run {run_id}: {owner} owns the namespace that {name} is in: stop {name} too")
