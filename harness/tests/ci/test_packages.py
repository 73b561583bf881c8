"""What `.ci/packages` says on distributions that this machine is not."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from harness.engines.images import REPOSITORY

SCRIPT = REPOSITORY / ".ci" / "packages"
DISTRIBUTIONS = {
    "debian": 'ID=debian\nVERSION_ID="13"\n',
    "ubuntu": "ID=ubuntu\nID_LIKE=debian\n",
    "mint": 'ID=linuxmint\nID_LIKE="ubuntu debian"\n',
    "fedora": "ID=fedora\n",
    "rocky": 'ID="rocky"\nID_LIKE="rhel centos fedora"\n',
    "arch": "ID=arch\n",
    "manjaro": "ID=manjaro\nID_LIKE=arch\n",
    "alpine": "ID=alpine\n",
}
NEEDS = re.findall(r"^ *need (\S+) +(\S+) +(\S+) +(\S.*)$", SCRIPT.read_text(), re.MULTILINE)


def lacking(distribution: str, folder: Path) -> list[str]:
    """What is printed where Python's packages are missing."""
    release = folder / "os-release"
    release.write_text(DISTRIBUTIONS[distribution])
    python = folder / "python"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHON": str(python),
        "OS_RELEASE": str(release),
        "ENGINE": "netns",
    }
    done = subprocess.run(
        [str(SCRIPT), "--check"], env=environment, capture_output=True, text=True, check=False
    )
    assert (3, "") == (done.returncode, done.stdout)
    return done.stderr.splitlines()


@pytest.mark.parametrize(
    ("distribution", "command"),
    [
        ("debian", "sudo apt-get install --no-install-recommends -y python3-venv python3-dev"),
        ("ubuntu", "sudo apt-get install --no-install-recommends -y python3-venv python3-dev"),
        ("mint", "sudo apt-get install --no-install-recommends -y python3-venv python3-dev"),
        ("fedora", "sudo dnf install -y python3-libs python3-devel"),
        ("rocky", "sudo dnf install -y python3-libs python3-devel"),
        ("arch", "sudo pacman -S --needed --noconfirm python"),
        ("manjaro", "sudo pacman -S --needed --noconfirm python"),
    ],
)
def test_the_command_is_the_distributions_own(distribution: str, command: str, tmp_path: Path) -> None:
    """S3: they were told apt-get, and Debian's names."""
    assert f"    {command}" == lacking(distribution, tmp_path)[-1]


def test_an_unknown_distribution_is_told_debians_names_and_no_command(tmp_path: Path) -> None:
    said = lacking("alpine", tmp_path)

    assert "setup: missing on this machine: python3-venv python3-dev" == said[0]
    assert "Debian's names" in said[1]
    assert not [line for line in said if "sudo" in line]


def test_every_package_has_a_name_on_every_distribution_that_is_named() -> None:
    names = {debian: (fedora, arch) for debian, fedora, arch, _ in NEEDS}

    without = {debian for debian, others in names.items() if "-" in others}
    assert {"mmdebstrap", "debian-archive-keyring"} == without
    assert {"iptables", "nginx-light", "util-linux", "iproute2", "chromium"} <= set(names)
    assert "conntrack" not in names


def test_what_makes_images_is_looked_for_by_what_uses_it() -> None:
    """S3: on Ubuntu mmdebstrap is of no use without Debian's keyring, which was not named."""
    keyring = "test -f /usr/share/keyrings/debian-archive-keyring.gpg"

    assert ("debian-archive-keyring", "-", "-", keyring) in NEEDS
