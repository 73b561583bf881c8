"""The command line, and whole runs of the proxy with listeners that do nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.admin.addresses import localhost
from proxy.main import EXIT_FAILED, EXIT_USAGE, run
from proxy.telemetry.exposition import Form
from proxy.tests import scrapes
from proxy.tests.inpod.agent import add
from proxy.tests.inpod.fakes import POD
from proxy.tests.sockets import free_port
from proxy.tests.state.test_document import POLICY, WORKLOAD

SERVE = """
import sys
from proxy import serve
from proxy.config import Settings
from proxy.main import loop_factory
from proxy.telemetry import logs
from proxy.tests.inpod.fakes import FakeListeners
import asyncio, os

class Slow(FakeListeners):
    def start(self, pod, netns):
        handle = super().start(pod, netns)
        async def drain(deadline_s):
            print("draining", flush=True)
            await asyncio.sleep(deadline_s)
            await handle.close()
        handle.drain = drain
        return handle

settings = Settings.from_env(os.environ)
logs.configure(settings.log_format, settings.log_levels)
factory, name = loop_factory(settings.loop)
with asyncio.Runner(loop_factory=factory) as runner:
    sys.exit(runner.run(serve.serve(settings, lambda context: Slow(), loop_name=name)))
"""


def test_help_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(["--help"])

    text = capsys.readouterr().out
    assert ended.value.code == 0
    assert "LOCAL_XDS_PATH" in text
    assert "PYZTUNNEL_BENCH_SOCKET" in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(["--version"])

    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("pyztunnel ")


@pytest.mark.parametrize(
    ("document", "code", "said"),
    [
        ({"workloads": [WORKLOAD], "policies": [POLICY]}, 0, "1 workloads, 0 services, 1 policies"),
        (
            {"policies": [{**POLICY, "action": "Audit"}]},
            EXIT_FAILED,
            "policy bench/strict rejected: policies[0].action",
        ),
        ([], EXIT_USAGE, "is no object with workloads, services, policies"),
        (None, EXIT_USAGE, "No such file or directory"),
    ],
)
def test_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], document: Any, code: int, said: str
) -> None:
    path = tmp_path / "mesh.json"
    if document is not None:
        path.write_text(json.dumps(document))

    assert run(["check", str(path)]) == code
    captured = capsys.readouterr()
    assert said in captured.out + captured.err


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"SECRET_TTL": "soon"}, "pyztunnel: SECRET_TTL='soon': expected a duration"),
        ({}, "pyztunnel: LOCAL_XDS_PATH is not set"),
        ({"LOCAL_XDS_PATH": "/x"}, "pyztunnel: CA_ADDRESS is not set"),
    ],
)
def test_settings_that_cannot_work_are_usage_errors(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], env: dict[str, str], said: str
) -> None:
    for name in ("LOCAL_XDS_PATH", "CA_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)

    assert run([]) == EXIT_USAGE
    assert said in capsys.readouterr().err


class Proxy:
    """A proxy process with an agent that names no pods."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.readiness = free_port()
        self.admin = free_port()
        self.mesh = folder / "mesh.json"
        self.agent = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.agent.bind(str(folder / "zds.sock"))
        self.agent.listen()
        self.agent.settimeout(20)
        settings = {
            "LOCAL_XDS_PATH": str(self.mesh),
            "INPOD_UDS": str(folder / "zds.sock"),
            "CA_ADDRESS": f"unix://{folder}/ca.sock",
            "PYZTUNNEL_READINESS_PORT": str(self.readiness),
            "PYZTUNNEL_ADMIN_PORT": str(self.admin),
            "PYZTUNNEL_STATS_PORT": "off",
            "CONNECTION_TERMINATION_DEADLINE": "60s",
            **env,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE],
            env={**os.environ, **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def connect_agent(self, *packets: bytes) -> socket.socket:
        """Take the proxy's connection and send what has no descriptor."""
        connection, _ = self.agent.accept()
        connection.settimeout(20)
        assert connection.recv(100) == bytes.fromhex("0801")
        for packet in packets:
            connection.send(packet)
            assert connection.recv(100) == bytes.fromhex("0a00")
        return connection

    def get(
        self,
        port: int,
        path: str,
        *,
        data: bytes | None = None,
        host: str = "127.0.0.1",
        accept: str = "*/*",
    ) -> tuple[int, str]:
        request = urllib.request.Request(f"http://{host}:{port}{path}", data, {"accept": accept})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310  it is http
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code, exc.read().decode()

    def until_ready(self) -> None:
        """Wait for the state, at most 20 s."""
        deadline = time.monotonic() + 20
        while self.get(self.readiness, "/healthz/ready")[0] != 200:
            assert time.monotonic() < deadline, "not ready"
            time.sleep(0.01)  # the state is another process's

    def end(self) -> tuple[int, str]:
        """Exit code and log."""
        _, log = self.process.communicate(timeout=20)
        return self.process.returncode, log


@contextmanager
def proxy(folder: Path, **env: str) -> Iterator[Proxy]:
    started = Proxy(folder, **env)
    try:
        yield started
    finally:
        started.agent.close()
        started.process.kill()
        started.process.communicate()


SNAPSHOT_SENT = bytes.fromhex("1a00")


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_ready_when_mesh_and_pods_are_known_then_a_signal_drains(tmp_path: Path, loop: str) -> None:
    """F04."""
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    with proxy(tmp_path, PYZTUNNEL_LOOP=loop) as running:
        with running.connect_agent():
            assert running.get(running.readiness, "/healthz/ready") == (
                500,
                "not ready, pending: mesh state, pods\n",
            )
            running.mesh.write_text(json.dumps({"workloads": [WORKLOAD]}))
        with running.connect_agent(SNAPSHOT_SENT):
            running.until_ready()
            status, dump = running.get(running.admin, "/config_dump")
            assert status == 200
            assert json.loads(dump)["workloads"][0]["name"] == "client"
            assert "PRIVATE KEY" not in dump
            running.process.send_signal(signal.SIGTERM)
            code, log = running.end()

    assert code == 0
    assert "started version=" in log
    assert f"loop={loop}" in log
    assert "ready seconds=" in log
    assert log.index("drain started") < log.index("drain complete")


def test_readiness_is_lost_with_the_agent_and_comes_back_with_its_next_snapshot(tmp_path: Path) -> None:
    """F47: as ztunnel's, since nobody knows then whether every pod is served."""
    with proxy(tmp_path) as running:
        running.mesh.write_text(json.dumps({"workloads": [WORKLOAD]}))
        with running.connect_agent(SNAPSHOT_SENT):
            running.until_ready()
        lost = (500, "not ready, pending: the node agent\n")
        deadline = time.monotonic() + 20
        while running.get(running.readiness, "/healthz/ready") != lost:
            assert time.monotonic() < deadline, "still ready"
        with running.connect_agent(SNAPSHOT_SENT):
            running.until_ready()


def test_pages_answer_on_both_families_and_a_scrape_is_well_formed(tmp_path: Path) -> None:
    """P19: wherever the kernel has both."""
    stats = free_port()
    with proxy(tmp_path, PYZTUNNEL_STATS_PORT=str(stats)) as running, running.connect_agent(SNAPSHOT_SENT):
        running.mesh.write_text(json.dumps({"workloads": [WORKLOAD]}))
        running.until_ready()
        for address in localhost(ipv6=True):
            host = f"[{address}]" if ":" in address else address
            for port, path in ((running.admin, "/"), (stats, "/stats/prometheus")):
                assert running.get(port, path, host=host)[0] == 200
            assert running.get(running.readiness, "/healthz/ready", host=host) == (200, "ready\n")
        for form in Form:
            _, text = running.get(stats, "/metrics", accept=form.value)
            samples = scrapes.read(text, form)
            assert scrapes.value(samples, "istio_build", component="pyztunnel") == 1
            assert scrapes.value(samples, "process_open_fds") > 3


def test_quitquitquit_drains(tmp_path: Path) -> None:
    with proxy(tmp_path) as running, running.connect_agent(SNAPSHOT_SENT):
        assert running.get(running.admin, "/quitquitquit")[0] == 405
        assert running.get(running.admin, "/quitquitquit", data=b"")[0] == 200
        code, _ = running.end()

    assert code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_cuts_the_drain_short(tmp_path: Path, number: signal.Signals) -> None:
    """F04: the exit code says which end it was."""
    with proxy(tmp_path) as running, running.connect_agent() as agent:
        with Path("/proc/self/ns/net").open("rb") as netns:
            socket.send_fds(agent, [add(POD)], [netns.fileno()])
        assert agent.recv(100) == bytes.fromhex("0a00")
        running.process.send_signal(number)
        assert running.process.stdout is not None
        assert running.process.stdout.readline() == "draining\n"
        running.process.send_signal(number)
        code, log = running.end()

    assert code == 128 + number
    assert "ended by a second signal" in log


def test_settings_without_effect_are_named_once_at_the_start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """P30: as a user of ztunnel's would wait for their effect."""
    for name, value in {
        "LOCAL_XDS_PATH": "/x",
        "CA_ADDRESS": "unix:///x",
        "ZTUNNEL_WORKER_THREADS": "4",
        "CRL_PATH": "/crl",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("proxy.telemetry.logs.configure", lambda *_: None)

    async def nothing(*_: object, **__: object) -> int:
        return 0

    monkeypatch.setattr("proxy.serve.serve", nothing)
    assert run([]) == 0
    assert [record.getMessage() for record in caplog.records] == [
        "settings of ztunnel's that have no effect here names=CRL_PATH,ZTUNNEL_WORKER_THREADS"
    ]


def test_a_taken_port_ends_the_start(tmp_path: Path) -> None:
    """test_conflicting_bind_error_admin."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with proxy(tmp_path, PYZTUNNEL_STATS_PORT=str(port)) as running:
            code, log = running.end()

    assert code == EXIT_FAILED
    assert f"listen on [::]:{port}: Address already in use" in log
