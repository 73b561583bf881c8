"""The compose file brings up a testbed in which every path works."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.compose.__main__ import build
from harness.compose.files import files
from harness.engines import images
from harness.shipped import ROOT

pytestmark = pytest.mark.docker

COMPOSE = ROOT / "compose"


def _program() -> list[str] | None:
    """docker-compose 1.29, or the plugin."""
    for command in (["docker-compose"], ["docker", "compose"]):
        if shutil.which(command[0]) is None:
            continue
        if subprocess.run([*command, "version"], capture_output=True, check=False).returncode == 0:
            return command
    return None


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The command line up to the verb, of a project that is up; it is taken down after the tests."""
    program = _program()
    if program is None:
        assert os.environ.get("CI") != "true", "docker-compose or the compose plugin has to be there in CI"
        pytest.skip("neither docker-compose nor the compose plugin is installed")
    build()
    exact = tmp_path_factory.mktemp("compose") / "exact.json"
    exact.write_text(json.dumps(_exact_images()))
    project = f"ambientbench-test-{secrets.token_hex(3)}"
    base = [*program, "-p", project, "-f", str(COMPOSE / "docker-compose.yml"), "-f", str(exact)]
    try:
        _run(base, "up", "-d")
        yield base
    finally:
        _run(base, "down", "-v", "-t", "1")


def _exact_images() -> dict[str, object]:
    """`:latest` may be another checkout's; this overrides it with the images of this one."""
    tags = images.tags()
    text = files()["docker-compose.yml"]
    services: dict[str, dict[str, str]] = {}
    name = ""
    for line in text.splitlines():
        if line.startswith("  ") and not line.startswith("   ") and line.endswith(":"):
            name = line.strip(" :")
        elif line.startswith("    image: "):
            services[name] = {"image": tags[line.split("/")[1].split(":")[0]]}
    return {"version": "2.4", "services": services}


def test_every_path_answers(compose: list[str]) -> None:
    wire = _run(compose, "ps", "-q", "wire").strip()
    ended = subprocess.run(["docker", "wait", wire], capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout.strip() == "0", _run(compose, "logs", "wire")

    request = (COMPOSE / "roundtrips.json").read_text()
    answer = _run(compose, "exec", "-T", "pod-1-client", "python3", "-m", "harness.agent.roundtrip", request)

    assert json.loads(answer) == {target["name"]: "ok" for target in json.loads(request)["targets"]}


def test_level_can_be_switched_by_wiring_again(compose: list[str]) -> None:
    rundir = ["--rundir", "/run/ambientbench"]
    again = ["python3", "-m", "harness.compose.wire", *rundir, "--interception", "tproxy-notrack"]

    said = _run(compose, "run", "--rm", "-T", "wire", *again)

    assert "node a: tproxy-notrack" in said
    request = (COMPOSE / "roundtrips.json").read_text()
    answer = _run(compose, "exec", "-T", "pod-1-client", "python3", "-m", "harness.agent.roundtrip", request)
    assert set(json.loads(answer).values()) == {"ok"}


def _run(base: list[str], *arguments: str) -> str:
    done = subprocess.run(
        [*base, *arguments], capture_output=True, text=True, check=False, timeout=120, cwd=Path("/")
    )
    assert done.returncode == 0, f"{' '.join(arguments)}: {done.stderr[-2000:]}"
    return done.stdout
