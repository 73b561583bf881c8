"""What only the netns engine promises: it vanishes with its owner, and works for an ordinary user."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.engines import netns
from harness.engines.api import EngineError, Run
from harness.engines.images import REPOSITORY
from harness.engines.owner import Owner
from harness.tests.engines.conftest import member
from harness.tests.ordinary import ordinary_user
from harness.tests.waiting import until

pytestmark = pytest.mark.netns

HOLDER = """
import json, sys
from pathlib import Path
from harness.engines import netns
from harness.engines.api import Member, Role, Run
from harness.engines.owner import Owner

engine = netns.engine(Run(id=sys.argv[1], directory=Path(sys.argv[2]), owner=Owner.current()))
idle = ("python3", "-m", "harness.engines.idle")
names = ("one", "two")
engine.start([
    Member(name=n, role=Role.NODE, node="a", image="base", namespace=n, command=idle,
           capabilities={"NET_ADMIN": "test", "NET_RAW": "test"})
    for n in names
])
script = "id -u; ip link add v0 type veth peer name v1; ip -br link show v0; iptables-legacy -t nat -S OUTPUT"
done = engine.execute("one", ["sh", "-c", script])
if sys.argv[3] == "detach":
    engine.detach()
said = {"out": done.stdout.decode(), "err": done.stderr.decode()}
print(json.dumps({"pids": dict(engine.pids()), **said}), flush=True)
if sys.argv[3] == "hold":
    sys.stdin.read()
"""
"""Holds a testbed until its input ends; it removes nothing itself."""


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY)}


def _remains(run_id: str) -> list[str]:
    return [thing for found in netns.remains() if found.run_id == run_id for thing in found.things]


def test_everything_vanishes_when_the_owner_is_killed(tmp_path: Path) -> None:
    """F62."""
    command = [sys.executable, "-c", HOLDER, "tkilled", str(tmp_path), "hold"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment()
    ) as holder:
        assert holder.stdout is not None
        pids = json.loads(holder.stdout.readline())["pids"]
        assert len(_remains("tkilled")) > 0

        holder.send_signal(signal.SIGKILL)
        holder.communicate()

    until(lambda: not _remains("tkilled"))
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids.values()))


def test_what_was_detached_outlives_its_owner_until_it_is_removed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, "tdetached", str(tmp_path), "detach"]
    done = subprocess.run(command, capture_output=True, check=True, env=_environment())
    pids = json.loads(done.stdout)["pids"]
    (found, *_) = [found for found in netns.remains() if found.run_id == "tdetached"]
    assert found.owner is not None
    engine = netns.engine(Run(id="tdetached", directory=tmp_path, owner=found.owner))

    assert engine.pids() == pids
    engine.remove()
    assert _remains("tdetached") == []


def test_a_supervisor_that_does_not_answer_is_killed(tmp_path: Path) -> None:
    """F78."""
    command = [sys.executable, "-c", HOLDER, "tstopped", str(tmp_path), "detach"]
    subprocess.run(command, capture_output=True, check=True, env=_environment())
    (found, *_) = [found for found in netns.remains() if found.run_id == "tstopped"]
    assert found.owner is not None
    engine = netns.engine(Run(id="tstopped", directory=tmp_path, owner=found.owner))
    os.kill(engine.supervisor_pid(), signal.SIGSTOP)

    engine.remove()

    assert _remains("tstopped") == []


def test_a_supervisor_that_cannot_start_is_an_error_that_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(netns, "SUPERVISOR", "harness.engines.no_such_module")
    engine = netns.engine(Run(id="tbroken", directory=tmp_path, owner=Owner.current()))

    with pytest.raises(EngineError, match=r"supervisor of run tbroken.*no_such_module"):
        engine.start([])


def test_an_ordinary_user_can_do_the_same() -> None:
    with ordinary_user() as user:
        done = user.run("-c", HOLDER, "tnobody", f"{user.place}/home", "leave")
        assert done.returncode == 0, done.stderr
        document = json.loads(done.stdout)

    assert document["err"] == ""
    uid, link, policy = document["out"].splitlines()
    assert uid == "0"
    assert link.startswith("v0@v1")
    assert policy == "-P OUTPUT ACCEPT"
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in document["pids"].values()))


DENIED = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
"""A process in new namespaces without a right in them, as AppArmor's profile of unshare leaves it."""


def test_namespaces_without_rights_in_them_are_of_no_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """S3: on Ubuntu 25.04 `unshare --user ... true` works, and nothing that a testbed does."""
    usual = netns._unshare()
    assert netns.unfit() is None
    monkeypatch.setattr(netns, "_unshare", lambda: [*usual, *DENIED])
    setting = tmp_path / "kernel/apparmor_restrict_unprivileged_userns"
    setting.parent.mkdir()
    setting.write_text("1\n")
    monkeypatch.setattr(netns, "_SETTINGS", tmp_path)
    monkeypatch.setattr(netns.os, "getuid", lambda: 1000)  # type: ignore[attr-defined]

    said = netns.unfit()

    assert said is not None
    assert "mount tmpfs on /run: Operation not permitted" in said
    assert said.endswith(
        "(kernel.apparmor_restrict_unprivileged_userns=1); "
        "as root: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
    )
    assert subprocess.run([*usual, *DENIED, "true"], check=False).returncode == 0


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
        ("user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=10000"),
    ],
)
def test_a_setting_that_forbids_namespaces_is_named_with_its_remedy(
    name: str, value: str, remedy: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text(f"{value}\n")
    monkeypatch.setattr(netns, "_SETTINGS", tmp_path)
    monkeypatch.setattr(netns.os, "getuid", lambda: 1000)  # type: ignore[attr-defined]

    assert netns._hint().endswith(remedy)


def test_members_are_found_without_the_kernels_list_of_children(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """S3: /proc/PID/task/TID/children needs CONFIG_PROC_CHILDREN."""
    read = Path.read_text

    def without(path: Path, *arguments: Any, **named: Any) -> str:
        if path.name == "children":
            raise FileNotFoundError(path)
        return read(path, *arguments, **named)

    monkeypatch.setattr(Path, "read_text", without)
    engine = netns.engine(Run(id="tchildren", directory=tmp_path, owner=Owner.current()))
    try:
        engine.start([member("one"), member("two")])

        pids = engine.pids()

        assert {"one", "two"} == set(pids)
        commands = {name: Path(f"/proc/{pid}/cmdline").read_bytes() for name, pid in pids.items()}
        assert all(b"harness.engines.idle" in command for command in commands.values())
    finally:
        engine.remove()
        engine.close()
