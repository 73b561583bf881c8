"""What a run needs of a machine: the one list that `doctor`, `run` and the README share."""

from __future__ import annotations

import platform
import resource
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from harness.engines import images, supplies
from harness.testbed import trial

DISK_RESULTS_BYTES = 1 << 30
"""A full run's samples and report take under 300 MB."""
DISK_IMAGES_BYTES = 4 << 30
"""All images with their builder take 1.5 GB, and as much again while they are built."""
MEMORY_BYTES = 1 << 30
"""Fourteen members take about 600 MB."""
DESCRIPTORS = 4096
OLDEST_PYTHON = (3, 11)

BOTH = ("docker", "netns")


class Lacking(Exception):
    """The machine does not have it; the message says what was found."""


class Needed(StrEnum):
    """What comes of it where it is lacking."""

    ALWAYS = "always"
    """No testbed."""
    SOMETIMES = "sometimes"
    """A testbed, without what `without` says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One thing that a machine has to have."""

    name: str
    purpose: str
    """What it is for, as a clause without a subject."""
    remedy: str
    """What to do where it is lacking."""
    look: Callable[[Mapping[str, trial.Result]], str]
    """Gives what was found, from the machine or from the trial's results.

    Raises:
        Lacking: It is not there.
        NotTried: It could not be tried.
    """
    needed: Needed = Needed.ALWAYS
    without: str = ""
    """What a run does without it, where it is needed sometimes."""
    engines: tuple[str, ...] = BOTH


class NotTried(Exception):
    """Nothing is known, since something before it failed; the message says what."""


def _tried(name: str) -> Callable[[Mapping[str, trial.Result]], str]:
    def look(results: Mapping[str, trial.Result]) -> str:
        result = results.get(name)
        if result is None:
            failed = next((each for each, found in results.items() if found.error), "the rows above")
            raise NotTried(f"see {failed}")
        if result.error is None:
            return f"{result.found} on the host" if result.doubt else result.found
        if result.doubt:
            raise NotTried(f"it needs {result.doubt}{result.error and f'; on the host: {result.error}'}")
        raise Lacking(result.error)

    return look


def _python(_results: Mapping[str, trial.Result]) -> str:
    found = f"{platform.python_version()} ({sys.executable})"
    if sys.version_info < OLDEST_PYTHON:
        raise Lacking(found)
    return found


def _descriptors(_results: Mapping[str, trial.Result]) -> str:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS:
        raise Lacking(f"at most {hard}")
    return f"at most {hard}" if hard != resource.RLIM_INFINITY else "no limit"


def _memory(_results: Mapping[str, trial.Result]) -> str:
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    available = int(fields["MemAvailable"].split()[0]) * 1024
    shown = f"{available / 2**30:.1f} GiB available"
    if available < MEMORY_BYTES:
        raise Lacking(shown)
    return shown


def _free(path: Path, wanted: int) -> str:
    existing = next(each for each in (path, *path.parents) if each.exists())
    free = shutil.disk_usage(existing).free
    shown = f"{free / 2**30:.0f} GiB free at {existing}"
    if free < wanted:
        raise Lacking(shown)
    return shown


def _results_disk(_results: Mapping[str, trial.Result]) -> str:
    return _free(Path.cwd(), DISK_RESULTS_BYTES)


def _images_disk(_results: Mapping[str, trial.Result]) -> str:
    return _free(supplies.cache(), DISK_IMAGES_BYTES)


def _base_image(_results: Mapping[str, trial.Result]) -> str:
    unfit = supplies.bootstrap_unfit()
    known = ", ".join(sorted(images.tags()))
    if unfit is not None:
        raise Lacking(f"{known}; {unfit}")
    return f"{known}: built when missing"


_MODPROBE = "as root: modprobe -a"

REQUIREMENTS: tuple[Requirement, ...] = (
    Requirement(
        name="python",
        purpose=f"run everything: {'.'.join(map(str, OLDEST_PYTHON))} or newer",
        remedy="install it: Debian 12, Ubuntu 24.04 and Fedora 37 carry it",
        look=_python,
    ),
    Requirement(
        name="open files",
        purpose=f"hold a thousand connections at both ends: {DESCRIPTORS} descriptors",
        remedy=f"raise the hard limit to {DESCRIPTORS} or more (ulimit -Hn, limits.conf)",
        look=_descriptors,
    ),
    Requirement(
        name="memory",
        purpose=f"run the members of two nodes: {MEMORY_BYTES / 2**30:.0f} GiB",
        remedy="free some, or take a smaller topology",
        look=_memory,
    ),
    Requirement(
        name="disk",
        purpose=f"keep results: {DISK_RESULTS_BYTES / 2**30:.0f} GiB",
        remedy="free some, or name another place by --results",
        look=_results_disk,
    ),
    Requirement(
        name="disk for images",
        purpose=f"build images: {DISK_IMAGES_BYTES / 2**30:.0f} GiB",
        remedy="free some, or set XDG_CACHE_HOME to another place",
        look=_images_disk,
        engines=("docker",),
    ),
    Requirement(
        name="images",
        purpose="make the base image offline: mmdebstrap and Debian's keyring",
        remedy="as root: apt-get install mmdebstrap debian-archive-keyring",
        look=_base_image,
        needed=Needed.SOMETIMES,
        without="a registry has to answer for the base image",
        engines=("docker",),
    ),
    Requirement(
        name=trial.FOLDER,
        purpose="hold the members' sockets: /run/ambientbench, XDG_RUNTIME_DIR or /tmp",
        remedy="make it writable and this user's own, or set XDG_RUNTIME_DIR",
        look=_tried(trial.FOLDER),
    ),
    Requirement(
        name=trial.START,
        purpose="start a process in a namespace with its rights and the run's folder",
        remedy="see the message; `ambientbench doctor --engine netns` or `docker` tries the other engine",
        look=_tried(trial.START),
    ),
    Requirement(
        name=trial.AGENT,
        purpose="run the node agent: pyroute2, protobuf",
        remedy="make setup",
        look=_tried(trial.AGENT),
    ),
    Requirement(
        name=trial.PROXY,
        purpose="run the proxy, with transparent sockets: h2, cryptography, grpcio, xt_TPROXY",
        remedy=f"make setup; {_MODPROBE} xt_TPROXY",
        look=_tried(trial.PROXY),
    ),
    Requirement(
        name=trial.BACKEND,
        purpose="answer requests: nginx",
        remedy="as root: apt-get install nginx-light (dnf install nginx-core, pacman -S nginx)",
        look=_tried(trial.BACKEND),
    ),
    Requirement(
        name=trial.LOAD,
        purpose="make load: locust, gevent",
        remedy="make setup",
        look=_tried(trial.LOAD),
    ),
    Requirement(
        name=trial.CONTROLPLANE,
        purpose="sign certificates: cryptography, grpcio",
        remedy="make setup",
        look=_tried(trial.CONTROLPLANE),
    ),
    Requirement(
        name="links",
        purpose="wire pods and nodes: veth, bridge",
        remedy=f"{_MODPROBE} veth bridge",
        look=_tried("links"),
    ),
    Requirement(
        name="settings",
        purpose="set up namespaces: a writable /proc/sys/net, IPv4 forwarding, tcp_fwmark_accept",
        remedy="run where /proc/sys/net is writable (not in an unprivileged container)",
        look=_tried("settings"),
    ),
    Requirement(
        name="policy routes",
        purpose="route marked packets to the proxy: CONFIG_IP_MULTIPLE_TABLES",
        remedy="use a kernel that has it",
        look=_tried("policy routes"),
    ),
    Requirement(
        name="entering namespaces",
        purpose="work inside pods: setns on /proc/PID/ns/net",
        remedy="run as root, or where user namespaces are allowed",
        look=_tried("entering namespaces"),
    ),
    Requirement(
        name="rules",
        purpose="write iptables rules, in the legacy tables or in nft's",
        remedy="as root: apt-get install iptables; modprobe -a iptable_nat iptable_mangle iptable_raw, "
        "or modprobe -a nf_tables nft_compat",
        look=_tried("rules"),
    ),
    Requirement(
        name="redirect",
        purpose="capture as istio-cni does: REDIRECT, CONNMARK, conntrack match",
        remedy=f"{_MODPROBE} iptable_nat xt_REDIRECT xt_conntrack xt_connmark xt_mark",
        look=_tried("redirect"),
    ),
    Requirement(
        name="tproxy",
        purpose="capture without address translation: TPROXY, socket match",
        remedy=f"{_MODPROBE} iptable_mangle xt_TPROXY xt_socket xt_mark xt_conntrack",
        look=_tried("tproxy"),
    ),
    Requirement(
        name="tproxy-notrack",
        purpose="capture without conntrack: CT --notrack",
        remedy=f"{_MODPROBE} iptable_raw xt_CT xt_TPROXY xt_socket",
        look=_tried("tproxy-notrack"),
    ),
    Requirement(
        name="conntrack table",
        purpose="count tracked connections: nf_conntrack, ctnetlink",
        remedy=f"{_MODPROBE} nf_conntrack nf_conntrack_netlink",
        look=_tried("conntrack table"),
    ),
    Requirement(
        name="packet sockets",
        purpose="see and time frames on links: AF_PACKET",
        remedy=f"{_MODPROBE} af_packet",
        look=_tried("packet sockets"),
    ),
    Requirement(
        name="IPv6",
        purpose="measure IPv6 too: IPv6 and ip6tables",
        remedy="boot without ipv6.disable=1; as root: modprobe -a ip6table_nat ip6table_mangle ip6table_raw",
        look=_tried("IPv6"),
        needed=Needed.SOMETIMES,
        without="suites with ipv6 in topology.ip_families cannot run here",
    ),
    Requirement(
        name="netem",
        purpose="move nodes apart in the kernel: sch_netem",
        remedy="as root: modprobe sch_netem",
        look=_tried("netem"),
        needed=Needed.SOMETIMES,
        without="where rtt_ms moves nodes apart, a process delays packets in its place",
    ),
)
"""In the order in which `doctor` shows them."""


def markdown() -> str:
    """The table for the README."""
    lines = ["| needed | to | on | where it is lacking |", "|---|---|---|---|"]
    for each in REQUIREMENTS:
        engines = "" if each.engines == BOTH else ", ".join(each.engines)
        effect = each.without or "no testbed"
        lines.append(f"| {each.name} | {each.purpose} | {engines} | {effect} |")
    return "\n".join(lines) + "\n"
