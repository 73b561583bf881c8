"""Engines' answers, of versions 20.10 to 29 and of what only looks like one: taken or refused in words."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from harness.engines.docker_answers import refusal

ANSWERS = {
    path.stem: json.loads(path.read_text())
    for path in sorted((Path(__file__).parent / "answers").glob("*.json"))
}
REFUSED = {
    "engine-19.03": "the engine speaks API 1.40; 1.41 (Docker 20.10) is needed",
    "podman-5": "podman 5.1.2 answers in Docker's place",
    "rootless-28": "the engine maps users (name=rootless)",
    "userns-remap-27": "the engine maps users (name=userns)",
    "docker-desktop-linux-29": "the engine runs its containers in a virtual machine (Docker Desktop)",
}


def answered(name: str, *, kernel: str = "", local: bool = True) -> str | None:
    """The verdict on an engine of this machine, unless its kernel is said to be another."""
    document: dict[str, Any] = ANSWERS[name]
    own = document["info"]["KernelVersion"]
    return refusal(document["version"], document["info"], kernel=kernel or own, local=local)


@pytest.mark.parametrize("name", sorted(set(ANSWERS) - set(REFUSED)))
def test_engines_of_every_version_are_taken(name: str) -> None:
    """cgroup v1 and v2, SELinux, AppArmor, containerd's image store, arm64."""
    assert answered(name) is None


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_cannot_hold_a_testbed_is_refused_in_words(name: str) -> None:
    said = answered(name)

    assert said is not None
    assert said.startswith(REFUSED[name])


def test_an_engine_in_a_virtual_machine_is_known_by_its_kernel() -> None:
    """Colima, Rancher Desktop, OrbStack and others do not say what they are."""
    said = answered("colima-28", kernel="6.12.48+deb13-amd64")

    expected = "the engine is in a virtual machine: its kernel is 6.8.0-60-generic (Ubuntu 24.04.2 LTS), "
    assert expected + "here it is 6.12.48+deb13-amd64" == said


def test_an_engine_behind_a_tunnel_is_known_by_its_kernel_or_its_name() -> None:
    assert "is in another machine" in (answered("engine-28-ubuntu-24.04", kernel="6.1", local=False) or "")
    assert "it calls itself runner" in (answered("engine-28-ubuntu-24.04", local=False) or "")


def test_an_engine_over_tcp_on_this_very_machine_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "runner")

    assert answered("engine-28-ubuntu-24.04", local=False) is None
