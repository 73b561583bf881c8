"""The compose file is what the smoke suite's topology says, and asks for no more rights than the engine."""

from __future__ import annotations

import json
import re
from pathlib import Path

from harness.compose import files as compose
from harness.compose.__main__ import differences
from harness.engines.api import Member
from harness.shipped import ROOT
from harness.suite import load_suite
from harness.testbed import members
from harness.topology.allocator import resolve
from harness.topology.layout import Layout


def _composed() -> tuple[Member, ...]:
    topology = resolve(load_suite(compose.SUITE, []).topology)
    return members.compose(topology, (compose.PLACEMENT,), Layout(compose.RUNDIR))


def test_committed_files_are_what_the_topology_generates() -> None:
    assert differences(ROOT / "compose") == [], "run `make compose` and commit what it writes"


def test_every_member_is_a_service_with_its_capabilities_and_no_others() -> None:
    text = compose.files()["docker-compose.yml"]
    services = dict(re.findall(r"\n  ([\w-]+):\n(    image:.*?)(?=\n\n)", text, re.DOTALL))

    for member in _composed():
        assert re.findall(r"      - ([A-Z_]+)  # ", services[member.name]) == list(member.capabilities)
        assert f'"ambientbench/{member.image}:latest"' in services[member.name]
        assert "cap_drop: [ALL]" in services[member.name]
    assert set(services) == {member.name for member in _composed()} | {"wire"}
    assert "privileged: true" not in text
    assert "docker.sock" not in text


def test_every_network_is_none_or_another_members() -> None:
    text = compose.files()["docker-compose.yml"]
    names = {member.name for member in _composed()}

    modes = re.findall(r'network_mode: "(.*)"', text)

    assert len(modes) == len(names) + 1
    assert {mode.removeprefix("service:") for mode in modes} <= names | {"none"}


def test_a_changed_or_missing_file_is_named(tmp_path: Path) -> None:
    for name, content in compose.files().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "topology.json").write_text("{}")
    (tmp_path / "mesh/mesh.json").unlink()

    assert differences(tmp_path) == ["topology.json", "mesh/mesh.json"]


def test_round_trips_name_every_backend() -> None:
    request = json.loads(compose.files()["roundtrips.json"])

    assert [target["name"] for target in request["targets"]] == [
        "server-local",
        "server-remote",
        "uncaptured",
        "outside",
    ]
