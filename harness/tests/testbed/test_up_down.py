"""The whole testbed, up and down by the command line, and what is left of it: nothing."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.engines.images import REPOSITORY
from harness.errors import ExitCode
from harness.testbed import leftovers
from harness.testbed.leftovers import Standing
from harness.testbed.snapshot import Snapshot
from harness.tests.ordinary import ordinary_user
from harness.tests.waiting import until

ENGINES = [
    pytest.param("docker", marks=pytest.mark.docker),
    pytest.param("netns", marks=pytest.mark.netns),
]
KILLS = 3
LEFT_S = 10.0
"""What is still there after this was left behind, not just slow to go."""
LOCK_WAIT_S = 300.0
"""Somebody else may be measuring on this machine while the tests run."""

ROUND_TRIP = """
import socket, sys
with socket.create_connection((sys.argv[1], 8080), 5) as connection:
    connection.sendall(b"GET /0?n=abc HTTP/1.1\\r\\nHost: test\\r\\nConnection: close\\r\\n\\r\\n")
    answer = b"".join(iter(lambda: connection.recv(4096), b"")).decode()
    print(answer.rpartition("nonce=")[2].strip(), connection.getsockname()[0])
"""


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), "ENGINE": ""}


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "harness", *arguments]


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _command(*arguments), capture_output=True, text=True, check=False, env=_environment(), cwd=REPOSITORY
    )


def _up(*arguments: str) -> dict[str, Any]:
    """Bring a testbed up, waiting while somebody else measures."""
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        done = _run("up", *arguments, "--json")
        if done.returncode == 0:
            document: dict[str, Any] = json.loads(done.stdout)
            return document
        busy = "another run is measuring" in done.stderr
        assert busy, done.stderr
        assert time.monotonic() < deadline, done.stderr
        time.sleep(1)


def _down(*run_ids: str) -> None:
    """Remove these runs: with --all, unless that would take somebody else's testbed away."""
    foreign = [found for found in leftovers.runs() if found.run_id not in run_ids]
    removable = {Standing.UP, Standing.LEFT}
    commands = [["down", "--all"]]
    if any(found.standing in removable for found in foreign):
        commands = [["down", run_id] for run_id in run_ids]
    for command in commands:
        done = _run(*command)
        assert done.returncode == 0, done.stderr


HOST_THINGS = tuple(
    f"{sign} {kind}"
    for sign in "+-"
    for kind in ("link", "address", "route", "policy rule", "docker network", "docker volume", "sysctl")
)


def _left(before: Snapshot) -> list[str]:
    """What differs from before, and goes on to.

    What other programs make and end meanwhile is not in every look; while somebody else's run is at
    work, only what no run may ever change is looked at.
    """
    deadline = time.monotonic() + LEFT_S
    left = before.difference(Snapshot.take())
    while left and time.monotonic() < deadline:
        time.sleep(LEFT_S / 20)
        now = set(before.difference(Snapshot.take()))
        left = [line for line in left if line in now]
    if any(found.standing is Standing.LIVE for found in leftovers.runs()):
        return [line for line in left if line.startswith(HOST_THINGS)]
    ended = ("- process", "- container", "- run folder")
    return [line for line in left if not line.startswith(ended)]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine's name."""
    name: str = request.param
    return name


@pytest.fixture(params=ENGINES, scope="class")
def standing(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """A standing testbed of the smoke suite, the same for all tests of a class."""
    before = Snapshot.take()
    document = _up("--engine", request.param)
    yield document
    _down(document["run"])
    assert _left(before) == []


def _exec(document: dict[str, Any], member: str, *command: str) -> subprocess.CompletedProcess[str]:
    return _run("exec", "--run", document["run"], member, "--", *command)


class TestStanding:
    """What can be done with a testbed that `up` made."""

    def test_it_answers_on_every_path_and_keeps_the_clients_address(self, standing: dict[str, Any]) -> None:
        pods = {pod["name"]: pod for pod in standing["pods"]}
        client = pods["client"]["address"]

        for name in ("server-local", "server-remote", "uncaptured"):
            pod = pods[name]
            done = _exec(standing, "client", "python3", "-c", ROUND_TRIP, pod["address"])
            assert f"abc pod={name} node={pod['node']} source={client}:" in done.stdout, done.stderr
        done = _exec(standing, "client", "python3", "-c", ROUND_TRIP, standing["hosts"]["outside"])
        assert "abc pod=outside node= source=" in done.stdout, done.stderr

    def test_it_can_be_looked_at(self, standing: dict[str, Any]) -> None:
        status = json.loads(_run("status", "--json").stdout)
        (mine,) = [run for run in status["runs"] if run["run"] == standing["run"]]

        assert mine["standing"] == "up"
        expected = {"probe", "locust", "pod-1-client", "agent-a", "ztunnel-1-b", "host-outside"}
        assert expected <= set(mine["members"])
        assert mine["ended"] == {}
        assert all(Path(f"/proc/{pid}").exists() for pid in mine["members"].values())

    def test_exec_ends_with_the_commands_code_and_names_what_it_does_not_know(
        self, standing: dict[str, Any]
    ) -> None:
        assert _exec(standing, "server-remote", "sh", "-c", "exit 7").returncode == 7
        unknown = _exec(standing, "server-remotr", "true")
        assert unknown.returncode == ExitCode.USAGE
        assert "did you mean" in unknown.stderr

    def test_a_second_one_is_refused(self, standing: dict[str, Any]) -> None:
        done = _run("up", "--engine", standing["engine"])

        assert done.returncode == ExitCode.USAGE
        assert standing["run"] in done.stderr
        assert "Traceback" not in done.stderr

    def test_a_senseless_command_line_is_answered_before_the_standing_one(
        self, standing: dict[str, Any]
    ) -> None:
        done = _run("up", "--engine", "podman")

        assert done.returncode == ExitCode.USAGE
        assert "known: docker, netns" in done.stderr
        assert standing["run"] not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_an_interrupted_bring_up_leaves_nothing(engine: str, number: int) -> None:
    """F60, F61: in mid set-up."""
    before = Snapshot.take()
    with subprocess.Popen(
        # Tests that a script runs in the background ignore SIGINT, and so would what they start.
        ["env", "--default-signal=INT", *_command("up", "--engine", engine)],
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(),
        cwd=REPOSITORY,
    ) as process:
        until(lambda: process.poll() is not None or _of(process.pid), within_s=60)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)

    if "another run is measuring" in said:
        pytest.skip("another run is measuring on this machine")
    assert process.returncode == 128 + number, said
    assert "Traceback" not in said
    assert _left(before) == []


def _of(pid: int) -> list[str]:
    """The runs that a process has made."""
    return [found.run_id for found in leftovers.runs() if found.owner is not None and found.owner.pid == pid]


def test_after_sigkill_at_any_moment_down_all_leaves_the_machine_as_it_was(engine: str) -> None:
    """F62, F63: nothing of the harness is left that could clean up; labels and records do."""
    document = _up("--engine", engine)
    _down(document["run"])
    whole_s = document["seconds"] + 1
    seed = random.randrange(2**32)
    moments = random.Random(seed)  # any moment will do
    for _ in range(KILLS):
        before = Snapshot.take()
        moment = moments.uniform(0.2, whole_s)
        with subprocess.Popen(
            _command("up", "--engine", engine), stderr=subprocess.PIPE, env=_environment(), cwd=REPOSITORY
        ) as process:
            try:
                process.wait(moment)
            except subprocess.TimeoutExpired:
                process.kill()
            process.communicate()
        # The next command says what is left.
        mine = [run for run in leftovers.runs() if run.owner is not None and run.owner.pid == process.pid]
        if any(run.standing is Standing.LEFT for run in mine):
            assert mine[0].run_id in leftovers.warning()

        _down(*(run.run_id for run in mine))

        assert _left(before) == [], f"killed after {moment:.2f} s (seed {seed})"


@pytest.mark.netns
def test_an_ordinary_user_brings_the_whole_testbed_up_and_down() -> None:
    with ordinary_user() as user:
        done = user.run("-m", "harness", "up", "--engine", "netns", "--json")
        while "another run is measuring" in done.stderr:
            time.sleep(1)
            done = user.run("-m", "harness", "up", "--engine", "netns", "--json")
        assert done.returncode == 0, done.stderr
        document = json.loads(done.stdout)
        (remote,) = (pod["address"] for pod in document["pods"] if pod["name"] == "server-remote")
        answer = user.run("-m", "harness", "exec", "client", "--", "python3", "-c", ROUND_TRIP, remote)
        down = user.run("-m", "harness", "down", "--json")

    assert "abc pod=server-remote node=b" in answer.stdout, answer.stderr
    assert [run["run"] for run in json.loads(down.stdout)["removed"]] == [document["run"]]
