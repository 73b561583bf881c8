"""The machine around a cell: what throttles us, wherever the limit stands, and what cannot be known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.evidence.noise import disturbances
from harness.evidence.sources import host
from harness.evidence.verdict import evaluate
from harness.tests.evidence.walk import CONFIGURATIONS, honest, moment

V2 = "usage_usec 1\nuser_usec 1\nsystem_usec 0\n"
"""cpu.stat of a cgroup whose parent has not enabled the controller."""


def limited(times: int) -> str:
    """cpu.stat of a cgroup with the controller, throttled so many times."""
    return f"{V2}nr_periods 9\nnr_throttled {times}\nthrottled_usec 5\n"


V1 = "nr_periods 7\nnr_throttled 3\nthrottled_time 12\n"


CASES: dict[str, tuple[str, dict[str, str], int | None]] = {
    "v2": ("0::/user.slice/run.scope\n", {"user.slice/run.scope": V2, "user.slice": V2, "": V2}, 0),
    "above us": ("0::/ci.slice/job\n", {"ci.slice/job": V2, "ci.slice": limited(4), "": V2}, 4),
    "at two levels": ("0::/a/b\n", {"a/b": limited(1), "a": limited(2)}, 3),
    "a container with a namespace of its own": ("0::/\n", {"": limited(2)}, 2),
    "a container that sees its own part alone": ("0::/system.slice/docker-5\n", {"": limited(6)}, 6),
    "v1": ("4:cpu,cpuacct:/docker/5\n1:name=systemd:/x\n", {"cpu/docker/5": V1, "cpu": V1}, 6),
    "v1 and v2": ("4:cpu:/\n0::/\n", {"cpu": V1}, 3),
    "nothing to read": ("0::/\n", {}, None),
    "no such controller": ("3:memory:/x\n", {"cpu": V1}, None),
}
"""/proc/self/cgroup, the cpu.stat of cgroups, and what is right."""


@pytest.mark.parametrize(("own", "files", "expected"), CASES.values(), ids=CASES)
def test_throttling_counts_wherever_the_limit_stands(
    own: str, files: Mapping[str, str], expected: int | None, tmp_path: Path
) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(own)
    for folder, text in files.items():
        path = tmp_path / "sys/fs/cgroup" / folder
        path.mkdir(parents=True, exist_ok=True)
        (path / "cpu.stat").write_text(text)

    assert expected == host._throttled(tmp_path)


def test_without_a_proc_nothing_is_known(tmp_path: Path) -> None:
    assert host._throttled(tmp_path) is None


def test_throttling_that_is_not_known_is_no_zero() -> None:
    """S3: None was taken for 0."""
    early, late = moment(10**12), moment(10**12 + 10**9)
    readings = host.read({"host": host.collect(early, late)})

    assert early["throttled"] is None
    assert readings.throttled is None
    assert disturbances(readings) == ()
    assert host.read({"host": host.collect(early, {**late, "throttled": 4})}).throttled is None


def test_what_the_machine_does_not_tell_stands_in_the_verdict() -> None:
    (presence, *_) = evaluate(honest(CONFIGURATIONS[0])).checks

    assert "evidence" == presence.name
    expected = "; this machine does not tell whether a cgroup's limit throttled us (no cpu.stat of our cgroup"
    assert expected in presence.reason
