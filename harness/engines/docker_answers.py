"""What an engine says of itself, and whether a testbed can live on such a one."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

OLDEST_API = (1, 41)
"""Docker Engine 20.10, the oldest this was run on."""
PODMAN = "Podman Engine"
"""The component by which podman's service tells what it is."""


def refusal(version: Mapping[str, Any], info: Mapping[str, Any], *, kernel: str, local: bool) -> str | None:
    """Why an engine that answers like this cannot hold a testbed; None when it can.

    Args:
        version: Its answer to GET /version.
        info: Its answer to GET /info.
        kernel: This machine's release.
        local: Whether its socket is a file of this machine.
    """
    components = {str(each.get("Name")): each.get("Version") for each in version.get("Components") or []}
    if PODMAN in components:
        return (
            f"podman {components[PODMAN]} answers in Docker's place; a testbed needs Docker itself, "
            "or --engine netns"
        )
    found = str(version["ApiVersion"])
    if tuple(int(part) for part in found.split(".")) < OLDEST_API:
        return f"the engine speaks API {found}; {'.'.join(map(str, OLDEST_API))} (Docker 20.10) is needed"
    return _elsewhere(info, kernel=kernel, local=local) or _mapped(info)


def _elsewhere(info: Mapping[str, Any], *, kernel: str, local: bool) -> str | None:
    system, theirs = info["OperatingSystem"], info["KernelVersion"]
    if info["OSType"] != "linux" or "Docker Desktop" in system:
        return f"the engine runs its containers in a virtual machine ({system})"
    if theirs != kernel:
        where = "a virtual machine" if local else "another machine"
        return f"the engine is in {where}: its kernel is {theirs} ({system}), here it is {kernel}"
    if not local and info["Name"] != socket.gethostname():
        return f"the engine is on another machine: it calls itself {info['Name']}"
    return None


def _mapped(info: Mapping[str, Any]) -> str | None:
    for option in info.get("SecurityOptions") or []:
        if "name=rootless" in option or "name=userns" in option:
            return (
                f"the engine maps users ({option}): the agent could not enter other containers' namespaces; "
                "choose an engine that runs as root without userns-remap, or --engine netns"
            )
    return None
