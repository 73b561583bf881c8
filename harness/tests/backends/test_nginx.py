import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from harness.backends.nginx import MAX_RESPONSE_BYTES, Counters, configuration
from harness.tests.backends.running import ADDRESS, Backend, backend

GOLDEN = Path(__file__).parent / "golden" / "nginx.conf"
WITHOUT_CAPABILITIES = ("setpriv", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with backend(tmp_path_factory.mktemp("state")) as started:
        yield started


@pytest.fixture
def client(running: Backend) -> Iterator[HTTPConnection]:
    connection = HTTPConnection(running.address, running.app_port, timeout=10)
    yield connection
    connection.close()


def fetch(client: HTTPConnection, target: str) -> bytes:
    client.request("GET", target)
    response = client.getresponse()
    assert response.status == 200
    return response.read()


def test_the_configuration_is_the_golden_one() -> None:
    written = configuration(
        pod="server", node="b", state_dir=Path("/run/x"), addresses=["10.0.0.2"], port=8080, superuser=True
    )

    assert written == GOLDEN.read_text()


def test_the_answer_names_nonce_pod_node_and_source(client: HTTPConnection) -> None:
    client.connect()
    host, port = client.sock.getsockname()

    body = fetch(client, "/0?n=0123abcd")

    assert body == f"nonce=0123abcd pod=server node=b source={host}:{port}\n".encode()


@pytest.mark.parametrize(
    "size", [0, 1, 9, 10, 99, 128, 1000, 1024, 4095, 16384, 65536, 90909, 999_998, MAX_RESPONSE_BYTES]
)
def test_the_padding_has_exactly_the_bytes_asked_for(client: HTTPConnection, size: int) -> None:
    line, padding = fetch(client, f"/{size}?n=1").split(b"\n", 1)

    assert padding == b"x" * size
    assert line.startswith(b"nonce=1 ")


def test_a_connection_lives_through_many_requests(running: Backend, client: HTTPConnection) -> None:
    before = Counters.read(running.state_dir)

    for number in range(2000):
        fetch(client, f"/0?n={number}")

    after = Counters.read(running.state_dir)
    assert after.since(before) == Counters(accepted=1, requests=2000)


@pytest.mark.parametrize("target", ["/", "/1234567", "/-1", "/12a", "/1/2"])
def test_another_target_is_told_what_is_expected(client: HTTPConnection, target: str) -> None:
    client.request("GET", target)
    response = client.getresponse()

    assert response.status == 404
    assert b"expected GET /<bytes>?n=<nonce> with bytes from 0 to 999999" in response.read()


def test_a_reading_counts_nothing_but_itself(running: Backend) -> None:
    first, second = Counters.read(running.state_dir), Counters.read(running.state_dir)

    assert second.since(first) == Counters(accepted=0, requests=0)


def test_counters_of_a_page_without_counters_are_an_error() -> None:
    with pytest.raises(OSError, match="expected a line `server accepts handled requests`"):
        Counters.parse("HTTP/1.1 404 Not Found\r\n\r\n")


def test_the_backend_ends_when_nginx_does(tmp_path: Path) -> None:
    with backend(tmp_path) as started:
        os.kill(started.nginx_pid, signal.SIGKILL)

        assert started.process.wait(timeout=10) == 1


def test_nginx_ends_when_the_backend_is_killed(tmp_path: Path) -> None:
    with backend(tmp_path) as started:
        watched = os.pidfd_open(started.nginx_pid)
        started.process.kill()
        ended, _, _ = select.select([watched], [], [], 10)
        os.close(watched)

    assert ended == [watched]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_both_end_on_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    with backend(tmp_path) as started:
        pid = started.nginx_pid

        started.process.send_signal(number)

        assert started.process.wait(timeout=10) == 0
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_what_a_killed_backend_left_is_no_obstacle(tmp_path: Path) -> None:
    with backend(tmp_path) as started:
        started.process.kill()
        started.process.wait(timeout=10)

    with backend(tmp_path) as again:
        assert Counters.read(again.state_dir).requests == 1


def test_a_busy_port_ends_the_backend_with_its_address(tmp_path: Path, running: Backend) -> None:
    command = [sys.executable, "-m", "harness.backends", "--pod", "p", "--node", "n"]
    command += ["--state-dir", str(tmp_path), "--address", ADDRESS, "--echo-port", str(running.echo_port)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)

    assert ended.returncode == 1
    assert f"{running.echo_port}" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only the superuser has capabilities to drop")
def test_the_superuser_needs_no_capability(tmp_path: Path) -> None:
    with backend(tmp_path, prefix=WITHOUT_CAPABILITIES) as started:
        client = HTTPConnection(started.address, started.app_port, timeout=10)

        assert fetch(client, "/128?n=5").startswith(b"nonce=5 pod=server")

        client.close()
