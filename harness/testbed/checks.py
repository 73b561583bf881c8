"""Whether this machine can hold a testbed: what `doctor` shows and what every bring-up begins with."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from harness.engines import choice, images, supplies
from harness.engines.choice import Choice
from harness.engines.netns import isolated
from harness.errors import EnvironmentUnfit
from harness.testbed import leftovers, rundir

MODULES = ("iptc", "pyroute2", "h2", "cryptography", "grpc", "google.protobuf", "locust")
"""What members import; on netns they run in this Python's environment."""
DISK_RESULTS_BYTES = 1 << 30
"""A full run's samples and report take under 300 MB."""
DISK_IMAGES_BYTES = 4 << 30
"""All images with their builder take 1.5 GB, and as much again while they are built."""
MEMORY_BYTES = 1 << 30
"""Fourteen members take about 600 MB."""
DESCRIPTORS = 4096
FEATURES_TIMEOUT_S = 30


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    """The testbed works, the numbers may suffer."""
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One row: what was looked at, what was found, what to do."""

    name: str
    status: Status
    found: str
    fix: str = ""


def preflight(requested: str) -> Choice:
    """Choose an engine and make sure that a testbed can live on it; nothing is created.

    Raises:
        UsageError: There is no engine of the requested name.
        EnvironmentUnfit: A check failed; one line for each that did.
    """
    chosen = choice.choose(requested)
    failed = [check for check in checks(chosen) if check.status is Status.FAILED]
    if failed:
        lines = "".join(f"\n  {check.name}: {check.found}; {check.fix}" for check in failed)
        raise EnvironmentUnfit(f"this machine cannot hold a testbed on engine {chosen.name}:{lines}")
    return chosen


def checks(chosen: Choice) -> list[Check]:
    """Every check that matters for this engine."""
    rows = [_python(), _limits(), _memory(), _disk(chosen), _run_folder()]
    if chosen.name == "docker":
        rows += [_images()]
    else:
        rows += [_modules(), _program("nginx", "nginx")]
    return [*rows, *_features(chosen)]


def diagnosis(requested: str) -> list[Check]:
    """All that `doctor` shows: every engine, the choice, its checks, and what would disturb a measurement."""
    rows = []
    for name in choice.known():
        reason = choice.named(name).unfit()
        status = Status.OK if reason is None else Status.WARNING
        rows.append(Check(name=f"engine {name}", status=status, found=reason or "works"))
    try:
        chosen = choice.choose(requested)
    except EnvironmentUnfit as exc:
        rows.append(Check(name="engine", status=Status.FAILED, found=str(exc), fix="see the rows above"))
        return rows
    rows.append(Check(name="engine", status=Status.OK, found=f"{chosen.name} ({chosen.reason})"))
    return [*rows, *checks(chosen), _cores(), _load(), _cgroup(), _leftovers()]


def _python() -> Check:
    found = platform.python_version()
    return Check(name="python", status=Status.OK, found=f"{found} ({sys.executable})")


def _modules() -> Check:
    missing = [name for name in MODULES if importlib.util.find_spec(name) is None]
    if missing:
        found = f"not installed: {', '.join(missing)}"
        return Check(name="python packages", status=Status.FAILED, found=found, fix="make setup")
    return Check(name="python packages", status=Status.OK, found="all there")


def _program(program: str, package: str) -> Check:
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        fix = f"as root: apt-get install {package}"
        return Check(name=program, status=Status.FAILED, found="not found", fix=fix)
    return Check(name=program, status=Status.OK, found=path)


def _limits() -> Check:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS:
        fix = f"raise the hard limit to {DESCRIPTORS} or more (ulimit -Hn, limits.conf)"
        return Check(name="open files", status=Status.FAILED, found=f"at most {hard}", fix=fix)
    return Check(name="open files", status=Status.OK, found=f"at most {hard}")


def _memory() -> Check:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            available = int(line.split()[1]) * 1024
            shown = f"{available / 2**30:.1f} GiB available"
            if available < MEMORY_BYTES:
                fix = f"free some: a testbed takes about {MEMORY_BYTES / 2**30:.0f} GiB"
                return Check(name="memory", status=Status.FAILED, found=shown, fix=fix)
            return Check(name="memory", status=Status.OK, found=shown)
    return Check(name="memory", status=Status.SKIPPED, found="/proc/meminfo does not say")


def _disk(chosen: Choice) -> Check:
    needed = [(Path.cwd(), DISK_RESULTS_BYTES, "results")]
    if chosen.name == "docker":
        existing = next(path for path in (supplies.cache(), *supplies.cache().parents) if path.exists())
        needed.append((existing, DISK_IMAGES_BYTES, "images"))
    shown = []
    for path, wanted, what in needed:
        free = shutil.disk_usage(path).free
        shown.append(f"{free / 2**30:.0f} GiB free at {path}")
        if free < wanted:
            fix = f"free some: {what} need {wanted / 2**30:.0f} GiB there"
            return Check(name="disk", status=Status.FAILED, found=shown[-1], fix=fix)
    return Check(name="disk", status=Status.OK, found=", ".join(dict.fromkeys(shown)))


def _run_folder() -> Check:
    base = rundir.base()
    existing = next(path for path in (base, *base.parents) if path.exists())
    if not os.access(existing, os.W_OK):
        fix = "make it writable, or set XDG_RUNTIME_DIR"
        return Check(name="run folder", status=Status.FAILED, found=f"{existing} is not writable", fix=fix)
    return Check(name="run folder", status=Status.OK, found=str(base))


def _images() -> Check:
    unfit = supplies.bootstrap_unfit()
    known = ", ".join(sorted(images.tags()))
    if unfit is not None:
        # A registry may still answer; asking takes seconds, so it is done when images are built.
        found = f"{known}; {unfit}, so a registry has to answer for the base image"
        return Check(
            name="images", status=Status.WARNING, found=found, fix="as root: apt-get install mmdebstrap"
        )
    return Check(name="images", status=Status.OK, found=f"{known}: built when missing")


def _features(chosen: Choice) -> list[Check]:
    """The kernel's features, tried in a throwaway namespace; they are the same for both engines."""
    unfit = choice.named("netns").unfit()
    program = shutil.which("iptables", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if chosen.name == "docker" and (unfit is not None or program is None):
        reason = unfit or "iptables is not installed on the host"
        return [Check(name="kernel features", status=Status.SKIPPED, found=f"not tried: {reason}")]
    if program is None:
        fix = "as root: apt-get install iptables"
        return [Check(name="iptables", status=Status.FAILED, found="not found", fix=fix)]
    command = isolated([sys.executable, "-m", "harness.testbed.features"])
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=FEATURES_TIMEOUT_S, env=_environment()
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        found = said[-1] if said else f"exit code {done.returncode}"
        return [
            Check(name="kernel features", status=Status.FAILED, found=found, fix=f"try: {' '.join(command)}")
        ]
    results: dict[str, str | None] = json.loads(done.stdout)
    return [_feature(name, error) for name, error in results.items()]


def _environment() -> dict[str, str]:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    # XTABLES_LOCKFILE: an ordinary user cannot open the host's lock.
    return {
        "PATH": path,
        "PYTHONPATH": str(images.REPOSITORY),
        "XTABLES_LOCKFILE": "/dev/null",
        "LANG": "C.UTF-8",
    }


def _feature(name: str, error: str | None) -> Check:
    if error is None:
        return Check(name=name, status=Status.OK, found="works")
    if name == "IPv6":
        found = f"{error}; suites with ipv6 in topology.ip_families cannot run here"
        fix = "boot without ipv6.disable=1; as root: modprobe -a ip6table_nat ip6table_mangle ip6table_raw"
        return Check(name=name, status=Status.WARNING, found=found, fix=fix)
    if name == "netem":
        found = f"{error}; where rtt_ms moves nodes apart, a process delays packets in its place"
        fix = "as root: modprobe sch_netem"
        return Check(name=name, status=Status.WARNING, found=found, fix=fix)
    if name == "iptables legacy":
        found = f"{error}; rules are written by iptables-restore instead"
        fix = "as root: modprobe -a ip_tables iptable_nat iptable_mangle iptable_raw"
        return Check(name=name, status=Status.WARNING, found=found, fix=fix)
    fix = FIXES.get(name, "as root: modprobe the module, or use a kernel that has it")
    return Check(name=name, status=Status.FAILED, found=error, fix=fix)


FIXES = {
    "links": "as root: modprobe -a veth bridge",
    "REDIRECT": "as root: modprobe -a iptable_nat xt_REDIRECT",
    "TPROXY": "as root: modprobe -a iptable_mangle xt_TPROXY",
    "socket match": "as root: modprobe xt_socket",
    "notrack": "as root: modprobe -a iptable_raw xt_CT",
    "conntrack match": "as root: modprobe xt_conntrack",
    "CONNMARK": "as root: modprobe xt_connmark",
    "MARK": "as root: modprobe -a iptable_mangle xt_mark",
    "conntrack table": "as root: modprobe -a nf_conntrack nf_conntrack_netlink",
    "sysctls": "run where /proc/sys/net is writable (not in an unprivileged container)",
    "transparent sockets": "use a kernel with CONFIG_NETFILTER_XT_TARGET_TPROXY",
}


def _cores() -> Check:
    count = len(os.sched_getaffinity(0))
    if count < 2:
        found, fix = f"{count} usable", "give it two: load and proxies would measure each other's waiting"
        return Check(name="cores", status=Status.WARNING, found=found, fix=fix)
    return Check(name="cores", status=Status.OK, found=f"{count} usable")


def _load() -> Check:
    one_minute, _, _ = os.getloadavg()
    busy = one_minute / (os.cpu_count() or 1)
    shown = f"{one_minute:.2f} over the last minute"
    if busy > 0.5:
        return Check(name="load", status=Status.WARNING, found=shown, fix="wait, or stop what runs beside")
    return Check(name="load", status=Status.OK, found=shown)


def _cgroup() -> Check:
    version = "v2" if Path("/sys/fs/cgroup/cgroup.controllers").exists() else "v1"
    return Check(name="cgroup", status=Status.OK, found=version)


def _leftovers() -> Check:
    warning = leftovers.warning()
    if warning:
        found, _, fix = warning.rpartition(" Remove with: ")
        return Check(name="leftovers", status=Status.WARNING, found=found, fix=fix)
    return Check(name="leftovers", status=Status.OK, found="none")
