"""What a container is made with, without an engine: rights, labels, and what it may not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker as sdk
import pytest

from harness.engines import docker
from harness.engines.api import Member, Mount
from harness.engines.owner import Owner
from harness.tests.engines.conftest import member, new_run

Config = Callable[[Member], dict[str, Any]]


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Config:
    """The body of a member's POST /containers/create; nothing is sent."""
    monkeypatch.setattr(docker, "_client", lambda **_: sdk.APIClient("unix:///nowhere", version="1.41"))
    engine = docker.engine(new_run(tmp_path))
    return lambda made: engine._config(made, made.name)


PLAIN = member("plain", mounts=(Mount(path=Path("/run/x"), writable=False), Mount(path=Path("/run/y"))))
AGENT = member("agent", capabilities={"NET_ADMIN": "links"}, host_pids=True)


@pytest.mark.parametrize("made", [PLAIN, AGENT], ids=lambda each: each.name)
def test_selinux_keeps_no_member_from_its_folders(config: Config, made: Member) -> None:
    """A bind mount without a label of its own is out of a container's reach where SELinux is enforced."""
    assert "label=disable" in config(made)["HostConfig"]["SecurityOpt"]


def test_folders_are_mounted_where_they_are_without_being_labelled_anew(config: Config) -> None:
    """`:z` would label the machine's own /run."""
    assert ["/run/x:/run/x:ro", "/run/y:/run/y:rw"] == config(PLAIN)["HostConfig"]["Binds"]


def test_nobody_gains_rights_and_only_the_agent_is_without_apparmors_profile(config: Config) -> None:
    plain, agent = (config(made)["HostConfig"] for made in (PLAIN, AGENT))

    assert ["ALL"] == plain["CapDrop"] == agent["CapDrop"]
    assert {"no-new-privileges", "label=disable"} == set(plain["SecurityOpt"])
    assert {"no-new-privileges", "label=disable", "apparmor=unconfined"} == set(agent["SecurityOpt"])
    assert ("none", True) == (plain["NetworkMode"], plain["ReadonlyRootfs"])


def test_a_container_tells_whose_it_is(config: Config) -> None:
    labels = config(PLAIN)["Labels"]

    assert "plain" == labels["ambientbench.member"]
    assert str(Owner.current()) == labels["ambientbench.owner"]
