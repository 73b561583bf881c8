"""What the machine is: its CPU, its size, whether it is a virtual one. Reads files alone, below any root.

x86 gives its CPU's name; arm64 gives numbers, of which the common ones are named here. Where nothing tells
two machines apart, the machine's own id does: unlike machines must never look alike, or they would share
baselines.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.cgroups import limiting

ARM = {
    (0x41, 0xD03): "Cortex-A53",
    (0x41, 0xD05): "Cortex-A55",
    (0x41, 0xD07): "Cortex-A57",
    (0x41, 0xD08): "Cortex-A72",
    (0x41, 0xD0B): "Cortex-A76",
    (0x41, 0xD0C): "Neoverse-N1",
    (0x41, 0xD40): "Neoverse-V1",
    (0x41, 0xD49): "Neoverse-N2",
    (0x41, 0xD4F): "Neoverse-V2",
    (0x41, 0xD84): "Neoverse-V3",
    (0x41, 0xD8E): "Neoverse-N3",
    (0x46, 0x001): "A64FX",
    (0x48, 0xD01): "TaiShan-v110",
    (0xC0, 0xAC3): "Ampere-1",
    (0xC0, 0xAC4): "Ampere-1a",
}
"""Implementer and part number (fields of MIDR_EL1) of servers and boards that benches run on."""

VIRTUAL = (
    *("KVM", "QEMU", "Amazon EC2", "Google Compute Engine", "VMware", "VirtualBox", "innotek GmbH", "Xen"),
    *("Bochs", "Parallels", "BHYVE", "OpenStack", "KubeVirt", "Apple Virtualization", "Virtual Machine"),
)
"""Beginnings of what virtual machines have in their DMI tables. Hyper-V's product is `Virtual Machine`."""
METAL = re.compile(r"\.metal(-|$)")
"""In the product names of Amazon's machines that are not virtual."""

_SALT = b"ambientbench"
"""A machine's id is not to be told; see machine-id(5)."""


def describe(root: Path = Path("/")) -> dict[str, Any]:
    """CPU, cores, memory, and what limits our share of them; None for what cannot be known."""
    return {
        "machine": platform.machine(),
        "model": _model(root),
        "cpu": _cpu(root),
        "cores": os.cpu_count(),
        "cores_usable": len(os.sched_getaffinity(0)),
        "cores_limit": _cores_limit(root),
        "memory_mb": _memory_mb(root),
        "memory_limit_mb": _memory_limit_mb(root),
        "virtual": _virtual(root),
    }


def in_words(host: Mapping[str, Any]) -> str:
    """The machine of a stored environment, in the words by which runs are compared."""
    cores = f"{host.get('cores_usable')} cores"
    if host.get("cores_limit") is not None:
        cores += f" limited to {host['cores_limit']:g}"
    # rounded, since what the kernel reserves differs from boot to boot
    memory = f"{round(float(host.get('memory_mb') or 0) / 1024)} GB"
    if host.get("memory_limit_mb") is not None:
        memory += f" limited to {host['memory_limit_mb']} MB"
    model = f"{host['model']}: " if host.get("model") else ""
    return f"{model}{host.get('cpu')}, {cores}, {memory}"


def _cpu(root: Path) -> str:
    text = _text(root / "proc/cpuinfo") or ""
    named = _x86(text) or _arm(text) or _other(text)
    if named:
        return named
    return f"unknown {platform.machine()} CPU of machine {_identity(root)}"


def _x86(text: str) -> str:
    """The name with the numbers behind it: many a virtual machine has a name that says next to nothing."""
    name = _field("model name", text)
    numbers = [_field(key, text) for key in ("cpu family", "model", "stepping")]
    if not name or not all(numbers):
        return ""
    return f"{' '.join(name.split())} ({'/'.join(numbers)})"


def _arm(text: str) -> str:
    """`4 x Cortex-A76 r4p1 + 4 x Cortex-A55 r2p0`: every kind of core, as cores may be of several."""
    keys = ("CPU implementer", "CPU part", "CPU variant", "CPU revision")
    columns = [re.findall(rf"^{key}\s*:\s*(\w+)$", text, re.MULTILINE) for key in keys]
    kinds = Counter(zip(*columns, strict=False))
    words = []
    for (implementer, part, variant, revision), count in sorted(kinds.items(), reverse=True):
        found = ARM.get((int(implementer, 0), int(part, 0)), f"CPU {implementer}/{part}")
        words.append((count, f"{found} r{int(variant, 0)}p{int(revision, 0)}"))
    if len(words) == 1:
        return words[0][1]
    return " + ".join(f"{count} x {name}" for count, name in words)


def _other(text: str) -> str:
    """riscv64 (`uarch`), ppc64le (`cpu`), loongarch64 (`Model Name`), s390x (`machine`)."""
    for key in ("uarch", "cpu", "Model Name", "model name"):
        found = _field(key, text)
        if found and found != "unknown":
            return found
    match = re.search(r"\bmachine = (\S+)", text)
    return match[1] if match else ""


def _field(key: str, text: str) -> str:
    match = re.search(rf"^{re.escape(key)}\s*:\s*(.*\S)\s*$", text, re.MULTILINE)
    return match[1] if match else ""


def _identity(root: Path) -> str:
    for path in ("etc/machine-id", "sys/class/dmi/id/product_uuid", "proc/sys/kernel/random/boot_id"):
        found = _text(root / path)
        if found:
            return hashlib.sha256(_SALT + found.encode()).hexdigest()[:8]
    return "without an id"


def _model(root: Path) -> str | None:
    """What its maker calls it: from DMI, or on boards from the device tree."""
    dmi = [_text(root / "sys/class/dmi/id" / name) or "" for name in ("sys_vendor", "product_name")]
    board = (_text(root / "proc/device-tree/model") or "").rstrip("\0")
    return " ".join(filter(None, dmi)) or board or None


def _virtual(root: Path) -> bool | None:
    cpuinfo = _text(root / "proc/cpuinfo") or ""
    if re.search(r"^flags\s*:.*\bhypervisor\b", cpuinfo, re.MULTILINE):
        return True
    if (root / "proc/device-tree/hypervisor").exists() or (root / "sys/hypervisor/type").exists():
        return True
    names = ("sys_vendor", "product_name", "board_vendor", "bios_vendor")
    dmi = {name: _text(root / "sys/class/dmi/id" / name) or "" for name in names}
    if METAL.search(dmi["product_name"]):
        return False
    if any(value.startswith(VIRTUAL) for value in dmi.values()):
        return True
    # an x86 without the flag is none; another machine has to have said what it is
    told = re.search(r"^flags\s*:", cpuinfo, re.MULTILINE) or any(dmi.values()) or _model(root)
    return False if told else None


def _memory_mb(root: Path) -> int | None:
    match = re.search(r"^MemTotal:\s*(\d+)", _text(root / "proc/meminfo") or "", re.MULTILINE)
    return int(match[1]) // 1024 if match else None


def _cores_limit(root: Path) -> float | None:
    """The least of the limits of our cgroup and those above it, in cores; None without one."""
    limits = []
    for folder in limiting("cpu", root):
        quota, _, period = (_text(folder / "cpu.max") or "").partition(" ")
        if not period:
            quota = _text(folder / "cpu.cfs_quota_us") or ""
            period = _text(folder / "cpu.cfs_period_us") or ""
        if quota.isdecimal() and period.isdecimal():
            limits.append(int(quota) / int(period))
    return min(limits, default=None)


def _memory_limit_mb(root: Path) -> int | None:
    total_mb = _memory_mb(root)
    limits = []
    for folder in limiting("memory", root):
        found = _text(folder / "memory.max") or _text(folder / "memory.limit_in_bytes") or ""
        if found.isdecimal():
            limits.append(int(found) // 2**20)
    # version 1 says "no limit" by a number that no machine has
    return min((each for each in limits if total_mb is None or each < total_mb), default=None)


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
