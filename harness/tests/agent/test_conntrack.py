"""The kernel's table as the agent reads it: whole, by its own count, and with nothing but netlink."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from harness.agent import conntrack, ctnetlink
from harness.agent.ctnetlink import CtnetlinkError
from harness.engines.images import REPOSITORY

ROOT = ("unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")
ORDINARY = (*ROOT, "--user", "--map-root-user")
"""In a user namespace of its own, a process has the rights there that an ordinary user's testbed has."""

HIDDEN = """
ip link set lo up
iptables-legacy -t raw -A OUTPUT -p tcp --dport 7002 -j CT --zone 5
iptables-legacy -t raw -A OUTPUT -p tcp --sport 7002 -j CT --zone 5
iptables-legacy -t mangle -A OUTPUT -p tcp -m conntrack --ctstate NEW -j CONNMARK --set-mark 273
ip6tables-legacy -t mangle -A OUTPUT -m conntrack --ctstate NEW -j ACCEPT
echo {accounting} > /proc/sys/net/netfilter/nf_conntrack_acct || true
PYTHON="$1"; PROGRAM="$2"
mount -t tmpfs none /run && mkdir /run/nothing && mount --bind /run/nothing /proc/$$/net
test ! -e /proc/self/net/nf_conntrack || exit 9
export PATH=/run/nothing
exec "$PYTHON" -c "$PROGRAM"
"""
"""The shell's process becomes Python's, so that what is mounted over its /proc/PID/net stays hidden."""

CONNECTING = """
import json, shutil, socket
from harness.agent import conntrack

assert shutil.which("conntrack") is None
conntrack.flush()
empty = conntrack.dump()
kept = []
for family, address, port in (
    (socket.AF_INET, "127.0.0.1", 7001), (socket.AF_INET, "127.0.0.1", 7002), (socket.AF_INET6, "::1", 7003)
):
    with socket.create_server((address, port), family=family, backlog=64) as listener:
        for _ in range(20 if port == 7001 else 1):
            client = socket.create_connection((address, port))
            kept += [client, listener.accept()[0]]
for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
    with socket.socket(family, socket.SOCK_DGRAM) as datagrams:
        datagrams.sendto(b"?", (address, 53))
full = conntrack.dump()
conntrack.flush()
print(json.dumps({"empty": empty, "full": full, "flushed": conntrack.dump()}))
"""


def inside(command: tuple[str, ...], *, accounting: int = 0) -> dict[str, Any]:
    """What `CONNECTING` printed where neither the file in /proc nor any program can be found."""
    done = subprocess.run(
        [*command, "sh", "-c", HIDDEN.format(accounting=accounting), "sh", sys.executable, CONNECTING],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
        timeout=30,
    )
    assert (0, "") == (done.returncode, done.stderr.partition("Traceback")[2])
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.netns
@pytest.mark.parametrize("accounting", [0, 1])
@pytest.mark.parametrize("command", [ROOT, ORDINARY], ids=["root", "ordinary"])
def test_the_table_is_read_where_there_is_no_file_of_it_and_no_program(
    command: tuple[str, ...], accounting: int
) -> None:
    """D1: as on Ubuntu, whose kernels have no /proc/net/nf_conntrack."""
    found = inside(command, accounting=accounting)

    nothing = {"counted": 0, "others": 0, "entries": []}
    assert (nothing, nothing) == (found["empty"], found["flushed"])
    entries = found["full"]["entries"]
    assert (22 + 2, 2) == (found["full"]["counted"], found["full"]["others"])
    assert 20 == sum(entry["dport"] == 7001 for entry in entries)
    marked = {(entry["dport"], entry["mark"], entry["zone"], entry["src"]) for entry in entries}
    assert {(7001, 273, 0, "127.0.0.1"), (7002, 273, 5, "127.0.0.1"), (7003, 0, 0, "::1")} == marked


def test_a_dump_is_taken_again_until_it_holds_what_the_kernel_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = iter([2, 1, 0])
    monkeypatch.setattr(ctnetlink, "dump", list)
    monkeypatch.setattr(ctnetlink, "size", lambda: next(sizes))

    assert {"counted": 0, "others": 0, "entries": []} == conntrack.dump()


def test_a_difference_that_stays_is_told_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """D1: a format that nobody can read gives no entries, and must not look like an empty table."""
    monkeypatch.setattr(conntrack, "AGREE_S", 0.02)
    monkeypatch.setattr(ctnetlink, "dump", list)
    monkeypatch.setattr(ctnetlink, "size", lambda: 7)

    assert {"counted": 7, "others": 0, "entries": []} == conntrack.dump()


def test_without_the_right_to_ask_the_refusal_is_an_error_with_its_remedy() -> None:
    command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-c", REFUSED]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY)

    expected = (
        "dump the connection table: Operation not permitted; "
        "CAP_NET_ADMIN over the network namespace is needed"
    )
    assert [expected] == done.stdout.splitlines()


REFUSED = f"""
from harness.agent import ctnetlink
try:
    ctnetlink.dump()
except ctnetlink.{CtnetlinkError.__name__} as exc:
    print(exc)
"""
