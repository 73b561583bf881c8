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
from importlib import metadata
from pathlib import Path

from harness.engines import pip_settings
from harness.errors import EnvironmentUnfit

log = logging.getLogger("harness.engines.supplies")

RELEASE = "bookworm"
"""Debian 12: Python 3.11, nginx 1.22, iptables 1.8.9 (python-iptables cannot read 1.8.11's extensions)."""
PYTHON = "3.11"
"""That release's Python, for which wheels are fetched whatever Python the harness runs on."""
GLIBC_MINORS = range(36, 16, -1)
"""Wheels for glibc 2.17 (manylinux2014) to 2.36 (that release's) run there."""
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
EXCLUDED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")


def cache() -> Path:
    """The folder for what is fetched once and kept."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "ambientbench"


def names(packages: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Images and their Debian packages as text, for a hash."""
    return [f"{image}: {' '.join(wanted)}" for image, wanted in sorted(packages.items()) if wanted]


def debian_folder(packages: Mapping[str, tuple[str, ...]]) -> Path:
    """Where `root.tar` and `debs/IMAGE/` for this set of packages are, or will be."""
    key = hashlib.sha256("\n".join([RELEASE, platform.machine(), *names(packages)]).encode()).hexdigest()[:16]
    return cache() / f"debian-{key}"


def debs(image: str, packages: Mapping[str, tuple[str, ...]]) -> Path:
    """The folder with the image's Debian packages and all that they depend on."""
    return debian_folder(packages) / "debs" / image


def bootstrap_unfit() -> str | None:
    """Why mmdebstrap cannot be used here; None when it can."""
    if shutil.which("mmdebstrap") is None:
        return "mmdebstrap is not installed (apt-get install mmdebstrap)"
    if not KEYRING.exists():
        return f"{KEYRING} is missing (apt-get install debian-archive-keyring)"
    return None


def bootstrap(packages: Mapping[str, tuple[str, ...]], told: Callable[[str], None]) -> Path:
    """Make a bare Debian root with mmdebstrap and fetch the images' packages beside it.

    Returns:
        The folder that holds `root.tar` and `debs/`.

    Raises:
        EnvironmentUnfit: mmdebstrap failed; its last lines are in the message.
    """
    final = debian_folder(packages)
    if (final / "root.tar").exists():
        return final
    told(f"making a Debian {RELEASE} root with mmdebstrap")
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
            *(RELEASE, str(folder / "root.tar")),
        ]
        _run(command, "make a Debian root")
    return final


def site(requirements: tuple[str, ...]) -> Path:
    """A folder with these distributions and what they need, from wheels for the images' Python.

    Everything that the harness itself has installed is taken at the same version.
    """
    return _fetched("site", requirements, _install_site)


def sources(requirements: tuple[str, ...]) -> Path:
    """A folder with the source archives of these distributions, without what they need."""
    return _fetched("sources", requirements, _download_sources)


def _fetched(
    kind: str, requirements: tuple[str, ...], fetch: Callable[[tuple[str, ...], Path], None]
) -> Path:
    key = hashlib.sha256("\n".join([platform.machine(), PYTHON, *requirements]).encode()).hexdigest()[:16]
    final = cache() / f"{kind}-{key}"
    if not final.exists():
        with making(final) as folder:
            fetch(requirements, folder)
    return final


def _install_site(requirements: tuple[str, ...], folder: Path) -> None:
    machine = platform.machine()
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in GLIBC_MINORS] + [f"manylinux2014_{machine}"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        constraints.writelines(f"{line}\n" for line in _installed())
        constraints.flush()
        _run(
            [
                *_pip("install", "--target", str(folder), "--no-compile", "--only-binary=:all:"),
                *(
                    "--python-version",
                    PYTHON,
                    "--implementation",
                    "cp",
                    "--abi",
                    f"cp{PYTHON.replace('.', '')}",
                ),
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
