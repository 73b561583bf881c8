"""What a machine is, from the files of sixteen: named, measured, and never taken for another."""

from __future__ import annotations

import os
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from harness.results import machine

FOLDER = Path(__file__).parent / "machines"
NAMES = sorted(path.name for path in FOLDER.iterdir() if path.is_dir())


@pytest.fixture
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the number of cores, which no file tells, be the same for all."""
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})


def of(name: str) -> dict[str, Any]:
    """A recorded machine, as it is kept with a run."""
    return machine.describe(FOLDER / name)


@pytest.mark.parametrize(
    ("name", "cpu"),
    [
        ("x86-vm-firecracker", "Intel(R) Xeon(R) Processor (6/207/2)"),
        ("x86-laptop", "Intel(R) Core(TM) i7-8565U CPU @ 1.80GHz (6/142/12)"),
        ("x86-github-runner", "AMD EPYC 7763 64-Core Processor (25/1/1)"),
        ("arm64-graviton2", "Neoverse-N1 r3p1"),
        ("arm64-graviton3", "Neoverse-V1 r1p1"),
        ("arm64-raspberry-pi-5", "Cortex-A76 r4p1"),
        ("arm64-two-kinds-of-cores", "4 x Cortex-A76 r4p0 + 4 x Cortex-A55 r2p0"),
        ("arm64-unnamed-part", "CPU 0x51/0x801 r10p4"),
        ("riscv64-board", "sifive,u74-mc"),
    ],
)
def test_a_cpu_has_a_name(name: str, cpu: str) -> None:
    """D22: arm64's cpuinfo has no "model name", and every such machine was "None"."""
    assert cpu == of(name)["cpu"]


@pytest.mark.parametrize(("one", "other"), list(combinations(NAMES, 2)))
@pytest.mark.usefixtures("four_cores")
def test_unlike_machines_are_never_alike(one: str, other: str) -> None:
    """D22: they shared a shelf of baselines and a trend."""
    assert machine.in_words(of(one)) != machine.in_words(of(other))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("four_cores")
def test_a_machine_is_like_itself(name: str) -> None:
    """Also after a boot, from which the kernel keeps a little more memory, and as it is stored."""
    first = of(name)
    again = {**of(name), "memory_mb": first["memory_mb"] - 3}

    assert machine.in_words(first) == machine.in_words(again)
    assert "None" not in machine.in_words(first)


@pytest.mark.parametrize(
    ("name", "virtual"),
    [
        ("x86-vm-firecracker", True),
        ("x86-github-runner", True),
        ("x86-laptop", False),
        ("arm64-graviton2", True),
        ("arm64-graviton2-metal", False),
        ("arm64-raspberry-pi-5", False),
        ("arm64-unnamed-part", None),
        ("sandbox-that-hides-its-cpu", None),
    ],
)
def test_a_virtual_machine_is_known_as_one_or_not_known(name: str, virtual: bool | None) -> None:
    """D22: on arm64 none ever was; its cpuinfo has no flag for it."""
    assert virtual is of(name)["virtual"]


@pytest.mark.parametrize(
    ("name", "cores", "memory_mb"),
    [
        ("container-cgroup-v1", 1.5, 512),
        ("container-cgroup-v2", 2.0, 4096),
        ("slice-with-a-limit", 3.0, None),
        ("x86-laptop", None, None),
    ],
)
def test_a_limited_share_of_a_machine_is_another_machine(
    name: str, cores: float | None, memory_mb: int | None
) -> None:
    found = of(name)

    assert (cores, memory_mb) == (found["cores_limit"], found["memory_limit_mb"])
    assert ("limited to" in machine.in_words(found)) == (cores is not None)


def test_the_model_is_its_makers_or_the_boards() -> None:
    assert "LENOVO 20N3S4MS00" == of("x86-laptop")["model"]
    assert "Raspberry Pi 5 Model B Rev 1.0" == of("arm64-raspberry-pi-5")["model"]
    assert of("x86-vm-firecracker")["model"] is None


def test_a_machine_without_any_file_is_described_all_the_same(tmp_path: Path) -> None:
    found = machine.describe(tmp_path)

    assert found["cpu"].endswith("of machine without an id")
    assert (None, None, None) == (found["memory_mb"], found["virtual"], found["cores_limit"])


def test_this_machine_has_a_name() -> None:
    assert machine.describe()["cpu"]
    assert machine.describe()["memory_mb"] > 0
