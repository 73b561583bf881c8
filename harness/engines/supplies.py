"""Where the ingredients of images come from: Debian's and Python's own clients, on the host, cached.

Builds have no network, so everything is fetched beforehand into `~/.cache/ambientbench` (or
XDG_CACHE_HOME). A folder there appears whole, by a rename, or not at all.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from harness.engines import pip_settings
from harness.errors import EnvironmentUnfit

log = logging.getLogger("harness.engines.supplies")


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A Debian release that images can be made of."""

    name: str
    python: str
    """Its Python, for which wheels are fetched whatever Python the harness runs on."""
    glibc_minor: int
    """Of its glibc 2.x: wheels for 2.17 (manylinux2014) up to this run there."""


RELEASES: Mapping[str, Release] = {
    each.name: each
    for each in (
        # nginx 1.22, OpenSSL 3.0, iptables 1.8.9
        Release(name="bookworm", python="3.11", glibc_minor=36),
        # nginx 1.26, OpenSSL 3.5, iptables 1.8.11, whose extensions python-iptables cannot read
        Release(name="trixie", python="3.13", glibc_minor=41),
    )
}
USUAL = "bookworm"
"""The release of images that name none."""
MANYLINUX2014 = 17
"""The glibc 2.x that the oldest of these wheels are for (PEP 599)."""
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
EXCLUDED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")


def cache() -> Path:
    """The folder for what is fetched once and kept."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "ambientbench"


def names(packages: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Images and their Debian packages as text, for a hash."""
    return [f"{image}: {' '.join(wanted)}" for image, wanted in sorted(packages.items()) if wanted]


def debian_folder(release: Release, packages: Mapping[str, tuple[str, ...]]) -> Path:
    """Where `root.tar` and `debs/IMAGE/` for this set of packages are, or will be."""
    parts = [release.name, platform.machine(), *names(packages)]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    return cache() / f"debian-{key}"


def debs(release: Release, image: str, packages: Mapping[str, tuple[str, ...]]) -> Path:
    """The folder with the image's Debian packages and all that they depend on."""
    return debian_folder(release, packages) / "debs" / image


def bootstrap_unfit() -> str | None:
    """Why mmdebstrap cannot be used here; None when it can."""
    if shutil.which("mmdebstrap") is None:
        return "mmdebstrap is not installed (apt-get install mmdebstrap)"
    if not KEYRING.exists():
        return f"{KEYRING} is missing (apt-get install debian-archive-keyring)"
    return None


def bootstrap(release: Release, packages: Mapping[str, tuple[str, ...]], told: Callable[[str], None]) -> Path:
    """Make a bare Debian root with mmdebstrap and fetch the images' packages beside it.

    Returns:
        The folder that holds `root.tar` and `debs/`.

    Raises:
        EnvironmentUnfit: mmdebstrap failed; its last lines are in the message.
    """
    final = debian_folder(release, packages)
    if (final / "root.tar").exists():
        return final
    told(f"making a Debian {release.name} root with mmdebstrap")
    with making(final) as folder:
        hooks = []
        for image, wanted in packages.items():
            if wanted:
                target = folder / "debs" / image
                target.mkdir(parents=True)
                # mmdebstrap runs the hook with the new root's own apt configuration.
                hooks.append(
                    '--customize-hook=APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" '
                    f"apt-get --quiet --yes --no-install-recommends --download-only "
                    f"-o Dir::Cache::Archives={shlex.quote(str(target))} install {shlex.join(wanted)}"
                )
        command = [
            *("mmdebstrap", "--variant=apt", "--format=tar", '--aptopt=Acquire::Languages "none"'),
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDED),
            *hooks,
            *(release.name, str(folder / "root.tar")),
        ]
        _run(command, "make a Debian root")
    return final


def site(release: Release, requirements: tuple[str, ...]) -> Path:
    """A folder with these distributions and what they need, from wheels for the release's Python.

    Everything that the harness itself has installed is taken at the same version.
    """
    return _fetched(
        "site", (release.python, *requirements), lambda folder: _install_site(release, requirements, folder)
    )


def sources(requirements: tuple[str, ...]) -> Path:
    """A folder with the source archives of these distributions, without what they need."""
    return _fetched("sources", requirements, lambda folder: _download_sources(requirements, folder))


def _fetched(kind: str, parts: tuple[str, ...], fetch: Callable[[Path], None]) -> Path:
    key = hashlib.sha256("\n".join([platform.machine(), *parts]).encode()).hexdigest()[:16]
    final = cache() / f"{kind}-{key}"
    if not final.exists():
        with making(final) as folder:
            fetch(folder)
    return final


def _install_site(release: Release, requirements: tuple[str, ...], folder: Path) -> None:
    machine = platform.machine()
    minors = range(release.glibc_minor, MANYLINUX2014 - 1, -1)
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in minors] + [f"manylinux2014_{machine}"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        constraints.writelines(f"{line}\n" for line in _installed())
        constraints.flush()
        _run(
            [
                *_pip("install", "--target", str(folder), "--no-compile", "--only-binary=:all:"),
                *("--python-version", release.python, "--implementation", "cp"),
                *("--abi", f"cp{release.python.replace('.', '')}"),
                *("--abi", "abi3", "--abi", "none"),
                *(f"--platform={name}" for name in platforms),
                *("--constraint", constraints.name, *requirements),
            ],
            f"fetch wheels for {', '.join(requirements)}",
            pip_settings.environment(),
        )
    # Programs in there would carry the host's interpreter in their first line; modules are run with -m.
    shutil.rmtree(folder / "bin", ignore_errors=True)


def _download_sources(requirements: tuple[str, ...], folder: Path) -> None:
    _run(
        [*_pip("download", "--dest", str(folder), "--no-deps", "--no-binary=:all:"), *requirements],
        f"fetch the sources of {', '.join(requirements)}",
        pip_settings.environment(),
    )


def _pip(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pip", "--quiet", *arguments]


def _installed() -> Iterable[str]:
    """What this Python has, as constraints; editable and local installations have no wheel to ask for."""
    for distribution in metadata.distributions():
        if distribution.read_text("direct_url.json") is None:
            yield f"{distribution.metadata['Name']}=={distribution.version}"


class making:  # noqa: N801  # reads as a statement: `with making(folder)`
    """A folder under a temporary name that gets its own when everything went well."""

    def __init__(self, final: Path) -> None:
        self._final = final

    def __enter__(self) -> Path:
        self._final.parent.mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(prefix=f".{self._final.name}-", dir=self._final.parent))
        return self._folder

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and not self._final.exists():
            self._folder.rename(self._final)
        else:
            shutil.rmtree(self._folder, ignore_errors=True)


def _run(command: list[str], what: str, environment: Mapping[str, str] | None = None) -> None:
    log.debug("run %s", shlex.join(command))
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, env=environment
    )
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise EnvironmentUnfit(
            f"{what}: {command[0]} ended with {done.returncode}: {' | '.join(lines[-4:])}; "
            f"run it by hand to see more: {shlex.join(command)}"
        )
