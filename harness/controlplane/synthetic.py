"""Authorization policies that match nothing, so that what many of them cost can be measured.

Half deny and half allow. As soon as one allows, whatever none allows is refused; so one more allows the
applications' ports to everybody, and connections are judged as they were, by more.
"""

from __future__ import annotations

from typing import Any

from harness.controlplane.document import ROOT_NAMESPACE
from harness.topology.model import APP_PORT, ECHO_PORT, SINK_PORT, SOURCE_PORT, TRUST_DOMAIN

PREFIX = "synthetic-"
"""Of their names; no other policy's begins so."""
_PORT = 443
"""Nobody listens there."""


def policies(count: int) -> list[dict[str, Any]]:
    """So many policies of the whole mesh that match no connection, and the one that lets all through.

    Each names another client, by principal where it denies, by namespace and port where it allows: what
    policies mostly say.
    """
    if not count:
        return []
    others = [
        _policy(f"{PREFIX}{number:05d}", *(_denies(number) if number % 2 == 0 else _allows(number)))
        for number in range(count)
    ]
    ports = sorted({APP_PORT, ECHO_PORT, SINK_PORT, SOURCE_PORT})
    return [*others, _policy(f"{PREFIX}everybody", "Allow", [[{"destinationPorts": ports}]])]


def with_policies(document: dict[str, Any], count: int) -> dict[str, Any]:
    """The mesh document with so many of them instead of those that it has."""
    others = [each for each in document["policies"] if not each["name"].startswith(PREFIX)]
    return {**document, "policies": [*others, *policies(count)]}


def _denies(number: int) -> tuple[str, list[list[dict[str, Any]]]]:
    return "Deny", [[{"principals": [{"Exact": f"{TRUST_DOMAIN}/ns/tenant-{number}/sa/caller"}]}]]


def _allows(number: int) -> tuple[str, list[list[dict[str, Any]]]]:
    return "Allow", [[{"namespaces": [{"Exact": f"tenant-{number}"}]}], [{"destinationPorts": [_PORT]}]]


def _policy(name: str, action: str, rule: list[list[dict[str, Any]]]) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": ROOT_NAMESPACE,
        "scope": "Global",
        "action": action,
        "dryRun": False,
        "rules": [rule],
    }
