"""What every engine does. The fake passes the same tests, apart from those on isolation."""

from __future__ import annotations

import os
import re
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from harness.engines import choice
from harness.engines.api import Engine, EngineError, Mount
from harness.tests.engines.conftest import member, new_run
from harness.tests.waiting import until

NET_ADMIN, NET_RAW = 12, 13
"""linux/capability.h"""

SAYS_WHEN_READY = """
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
print("ready", flush=True)
signal.sigwait({signal.SIGTERM})
"""


def test_members_run_until_they_are_removed(engine: Engine) -> None:
    engine.start([member("one"), member("two")])

    pids = engine.pids()
    assert {"one", "two"} == set(pids)
    assert all(Path(f"/proc/{pid}").exists() for pid in pids.values())
    assert engine.exited() == {}
    engine.remove()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids.values()))


def test_a_member_runs_on_its_own_cores_and_one_without_on_all(engine: Engine) -> None:
    cores = os.sched_getaffinity(0)
    mine = min(cores)
    engine.start([replace(member("bound"), cpus=(mine,)), member("free")])

    pids = engine.pids()
    assert os.sched_getaffinity(pids["bound"]) == {mine}
    assert os.sched_getaffinity(pids["free"]) == cores


def test_removing_twice_or_before_the_start_is_no_error_and_nothing_starts_after_it(engine: Engine) -> None:
    engine.remove()
    engine.remove()

    with pytest.raises(EngineError, match="nothing more is started"):
        engine.start([member("one")])
    assert _running(engine) == set()


def _running(engine: Engine) -> set[str]:
    try:
        return set(engine.pids())
    except EngineError:  # nobody is left to be asked
        return set()


def test_a_start_whose_thread_nobody_waits_for_is_waited_for_by_the_removal(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F64: Ctrl-C just when a thread has started, before its pool has noted it."""
    threads: list[threading.Thread] = []
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        threads.append(thread)
        start(thread)
        raise KeyboardInterrupt

    with ThreadPoolExecutor(1) as pool, monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pool.submit(engine.start, [member("one")])
    engine.remove()
    for thread in threads:
        thread.join()

    assert _running(engine) == set()


def test_members_can_be_added_to_a_run_that_has_some(engine: Engine) -> None:
    engine.start([member("one")])
    engine.start([member("two"), member("three", namespace="one")])

    assert {"one", "two", "three"} == set(engine.pids())


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 0), (signal.SIGKILL, 137)],
    ids=["sigterm ends an idle member well", "sigkill is 128 and 9"],
)
def test_a_signal_ends_a_member_with_its_exit_code(engine: Engine, number: int, code: int) -> None:
    engine.start([member("one", "python3", "-c", SAYS_WHEN_READY), member("two")])
    until(lambda: "ready" in engine.logs("one"))

    engine.kill("one", number)

    assert {"one": code} == until(engine.exited)
    assert {"two"} == set(engine.pids())
    engine.kill("one", number)  # it has ended: nothing happens


def test_a_member_that_ends_by_itself_is_seen_with_its_code_and_its_log(engine: Engine) -> None:
    engine.start([member("one", "sh", "-c", "echo out; echo err >&2; exit 3")])

    assert until(engine.exited) == {"one": 3}
    assert {"out", "err"} == set(until(lambda: engine.logs("one")).split())


def test_a_command_runs_beside_a_member_with_its_code_and_both_outputs(engine: Engine) -> None:
    engine.start([member("one")])

    done = engine.execute("one", ["sh", "-c", "echo out; echo err >&2; exit 7"])

    assert (done.returncode, done.stdout, done.stderr) == (7, b"out\n", b"err\n")


def test_a_command_reads_all_of_its_input(engine: Engine) -> None:
    engine.start([member("one")])
    sent = os.urandom(300_000)

    done = engine.execute("one", ["cat"], stdin=sent)

    assert (0, sent) == (done.returncode, done.stdout)


def test_python_is_the_members_own_and_knows_the_harness(engine: Engine) -> None:
    engine.start([member("one", env={"COLOUR": "blue"})])

    program = "import harness.engines.idle, os; print(harness.engines.idle.__name__, os.environ['COLOUR'])"
    done = engine.execute("one", ["python3", "-c", program])

    assert done.stdout == b"harness.engines.idle blue\n"


def test_an_unknown_member_is_named(engine: Engine) -> None:
    engine.start([member("one")])

    with pytest.raises(EngineError, match="nobody"):
        engine.execute("nobody", ["true"])
    with pytest.raises(EngineError, match="nobody"):
        engine.kill("nobody", signal.SIGTERM)


def test_a_program_that_does_not_exist_is_named(engine: Engine) -> None:
    with pytest.raises(EngineError, match=r"start one.*no-such-program"):
        engine.start([member("one", "no-such-program")])


def test_members_of_one_namespace_share_it_and_others_do_not(real_engine: Engine) -> None:
    real_engine.start([member("one"), member("two", namespace="one"), member("three")])

    seen = {
        name: real_engine.execute(name, ["readlink", "/proc/self/ns/net"]).stdout
        for name in ("one", "two", "three")
    }

    assert seen["one"] == seen["two"]
    assert len({seen["one"], seen["three"], f"{Path('/proc/self/ns/net').readlink()}\n".encode()}) == 3


def test_a_namespace_has_loopback_up_and_no_other_link(real_engine: Engine) -> None:
    real_engine.start([member("one")])

    program = "import socket; print(socket.if_nameindex()); socket.create_server(('127.0.0.1', 0))"
    done = real_engine.execute("one", ["python3", "-c", program])

    assert (done.returncode, done.stdout) == (0, b"[(1, 'lo')]\n")


def test_a_namespace_has_the_sysctls_of_its_owner(real_engine: Engine) -> None:
    setting = "/proc/sys/net/ipv4/ip_default_ttl"
    real_engine.start([member("one", sysctls={"net.ipv4.ip_default_ttl": "77"}), member("two")])

    seen = [real_engine.execute(name, ["cat", setting]).stdout for name in ("one", "two")]

    assert seen == [b"77\n", b"64\n"]


def test_a_member_has_the_capabilities_it_lists_and_no_other(real_engine: Engine) -> None:
    real_engine.start([member("none"), member("some", capabilities={"NET_ADMIN": "test", "NET_RAW": "test"})])

    expected = {"none": 0, "some": 1 << NET_ADMIN | 1 << NET_RAW}
    for name, pid in real_engine.pids().items():
        status = Path(f"/proc/{pid}/status").read_text()
        effective = int(re.search(r"^CapEff:\s*(\S+)", status, re.MULTILINE)[1], 16)  # type: ignore[index]
        bounding = int(re.search(r"^CapBnd:\s*(\S+)", status, re.MULTILINE)[1], 16)  # type: ignore[index]
        assert expected[name] == effective
        if os.getuid() == 0:
            assert expected[name] == bounding
        assert re.search(r"^NoNewPrivs:\s*1$", status, re.MULTILINE)


def test_a_mounted_folder_is_the_same_on_both_sides(real_engine: Engine, short_dir: Path) -> None:
    shared = short_dir / "shared"
    shared.mkdir(mode=0o700)
    real_engine.start([member("one", mounts=(Mount(path=shared),))])

    done = real_engine.execute("one", ["sh", "-c", f"echo from inside > {shared}/file"])

    assert (done.returncode, done.stderr) == (0, b"")
    assert (shared / "file").read_text() == "from inside\n"
    assert os.getuid() == (shared / "file").stat().st_uid


@pytest.mark.docker
def test_a_read_only_mount_is_read_only(short_dir: Path) -> None:
    engine = choice.named("docker").engine(new_run(short_dir))
    engine.prepare(lambda _: None)
    try:
        engine.start([member("one", mounts=(Mount(path=short_dir, writable=False),))])

        done = engine.execute("one", ["touch", f"{short_dir}/file", "/file"])

        assert done.returncode == 1
        assert done.stderr.count(b"Read-only file system") == 2
    finally:
        engine.remove()
        engine.close()


def test_an_agent_can_open_every_namespace_by_its_path(real_engine: Engine) -> None:
    wanted = {"SYS_ADMIN": "setns", "SYS_PTRACE": "open", "NET_ADMIN": "links"}
    real_engine.start([member("pod"), member("agent", capabilities=wanted, host_pids=True)])
    path = real_engine.namespace_path("pod")

    program = (
        "import ctypes, os, sys; fd = os.open(sys.argv[1], os.O_RDONLY); "
        "print(ctypes.CDLL(None).setns(fd, 0x40000000), os.readlink('/proc/self/ns/net'))"
    )
    done = real_engine.execute("agent", ["python3", "-c", program, path])

    expected = real_engine.execute("pod", ["readlink", "/proc/self/ns/net"]).stdout
    assert b"0 " + expected == done.stdout


def test_remains_tell_of_a_run_with_its_owner_until_it_is_removed(real_engine: Engine) -> None:
    module = choice.named(real_engine.name)
    run = real_engine.run  # type: ignore[attr-defined]  # both real engines have it
    real_engine.start([member("one")])

    mine = [found for found in module.remains() if found.run_id == run.id]
    assert {run.owner} == {found.owner for found in mine}
    real_engine.remove()
    assert [found for found in module.remains() if found.run_id == run.id] == []


def test_another_object_of_the_same_run_reaches_its_members(real_engine: Engine) -> None:
    run = real_engine.run  # type: ignore[attr-defined]  # both real engines have it
    real_engine.start([member("one", env={"COLOUR": "blue"})])

    other = choice.named(real_engine.name).engine(run)

    assert real_engine.pids() == other.pids()
    assert other.execute("one", ["sh", "-c", "echo $COLOUR"]).stdout == b"blue\n"
    assert other.exited() == {}
    other.close()


def test_a_stopped_member_is_gone_and_its_name_can_be_started_again(engine: Engine) -> None:
    engine.start([member("one", "sh", "-c", "echo first; exec sleep 60"), member("two")])
    until(lambda: "first" in engine.logs("one"))
    before = engine.pids()

    engine.stop(["one"])
    gone = (set(engine.pids()), dict(engine.exited()), Path(f"/proc/{before['one']}").exists())
    engine.start([member("one", "sh", "-c", "echo second; exec sleep 60")])

    assert gone == ({"two"}, {}, False)
    until(lambda: "second" in engine.logs("one"))
    assert "first" in engine.logs("one")
    assert engine.pids()["two"] == before["two"]
    assert engine.pids()["one"] != before["one"]


def test_what_a_stopped_member_started_goes_with_it(engine: Engine) -> None:
    engine.start([member("one", "sh", "-c", "sleep 60 & echo ready; wait")])
    until(lambda: "ready" in engine.logs("one"))
    (child,) = until(lambda: _children(engine.pids()["one"]))

    engine.stop(["one"])

    until(lambda: not _runs(child))


def _runs(pid: str) -> bool:
    """Whether a process is there and has not ended; whose parent is gone may wait for its reaper."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_members_that_share_a_namespace_are_stopped_and_started_again_around_its_owner(
    engine: Engine,
) -> None:
    engine.start([member("pod"), member("sidecar", namespace="pod")])

    with pytest.raises(EngineError, match="pod owns the namespace that sidecar is in: stop sidecar too"):
        engine.stop(["pod"])
    engine.stop(["sidecar"])
    engine.start([member("sidecar", namespace="pod")])
    both = set(engine.pids())
    engine.stop(["pod", "sidecar"])
    engine.start([member("pod"), member("sidecar", namespace="pod")])

    assert both == {"pod", "sidecar"} == set(engine.pids())


def test_a_member_that_has_ended_by_itself_can_be_stopped(engine: Engine) -> None:
    engine.start([member("one", "sh", "-c", "exit 3")])
    until(engine.exited)

    engine.stop(["one"])

    assert dict(engine.exited()) == {}


def test_stopping_a_stranger_stops_nobody(engine: Engine) -> None:
    engine.start([member("one")])

    with pytest.raises(EngineError, match=r"no member two; known: one"):
        engine.stop(["one", "two"])

    assert set(engine.pids()) == {"one"}
