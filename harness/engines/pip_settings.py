"""pip with the user's index, proxy and certificates, but not with the place that they install to.

A pip that is configured with `user`, `target`, `prefix` or `require-virtualenv` would install into that
place, or refuse to. An option cannot be unset on its command line, so its files are not read, and what
is about the way to packages is handed on. `.ci/setup` runs it as a script in pip's place, hence it
imports nothing of ours.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys

WAY_TO_PACKAGES = (
    *("index-url", "extra-index-url", "find-links", "no-index", "trusted-host", "keyring-provider"),
    *("proxy", "cert", "client-cert", "timeout", "default-timeout", "retries", "cache-dir", "no-cache-dir"),
    "no-input",
)
SECTIONS = ("global", "install", "download", ":env:")
"""Of `pip config list`; a later one overrides."""


ALL_FILES = {"PIP_USER": "0", "PIP_GLOBAL": "0", "PIP_SITE": "0"}
"""`pip config list --user` would tell of the user's file alone, and `user = true` is as if it were given."""


def environment() -> dict[str, str]:
    """This process's environment, of pip's settings only `WAY_TO_PACKAGES`, from wherever they were."""
    asked = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "list"],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **ALL_FILES},
    )
    settings = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    settings |= {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return settings | _way_to_packages(asked.stdout)


def _way_to_packages(listed: str) -> dict[str, str]:
    """From lines such as `global.index-url='https://index.example/simple'`."""
    found: dict[str, dict[str, str]] = {section: {} for section in SECTIONS}
    for line in listed.splitlines():
        key, equals, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if equals and value not in {"", "''"} and section in found and name in WAY_TO_PACKAGES:
            found[section][f"PIP_{name.upper().replace('-', '_')}"] = str(ast.literal_eval(value))
    return {name: value for section in SECTIONS for name, value in found[section].items()}


if __name__ == "__main__":
    pip = [sys.executable, "-m", "pip", *sys.argv[1:]]
    os.execve(sys.executable, pip, environment())  # noqa: S606  # no shell is meant
