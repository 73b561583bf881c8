"""Which Docker engine is meant: as docker's own command line decides, so that both mean the same one.

DOCKER_HOST comes first, then the context that DOCKER_CONTEXT or `docker context use` names, then the default
socket. docker-py takes the default socket in silence where a context is not there; here that is an error.

Source: resolveContextName in docker/cli, cli/command/cli.go; the context store below ~/.docker/contexts.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from harness.errors import EnvironmentUnfit

DEFAULT_URL = "unix:///var/run/docker.sock"
DEFAULT_CONTEXT = "default"
LOCAL = {"unix"}
"""Schemes of addresses that can only be this machine's."""
CERTIFICATES = ("cert.pem", "key.pem", "ca.pem")


class NoEndpoint(EnvironmentUnfit):
    """What the user chose does not exist; the message says where it was chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An engine's address, and who chose it."""

    url: str
    chosen_by: str
    """In words: `DOCKER_HOST`, `context prod (docker context use)`."""
    certificates: Path | None = None
    """Folder with cert.pem, key.pem and ca.pem, where TLS is wanted."""
    verify: bool = True
    """Whether the engine's certificate has to be right."""

    @property
    def elsewhere(self) -> str | None:
        """Why this cannot be an engine that mounts this machine's folders; None where it may be one."""
        parts = urlsplit(self.url if "://" in self.url else f"tcp://{self.url}")
        if parts.scheme in LOCAL or (parts.scheme == "tcp" and _loopback(parts.hostname or "")):
            return None
        return (
            f"{self.chosen_by} names the engine at {self.url}, which is on another machine: it cannot "
            "mount this machine's folders; run ambientbench there, or choose the local engine "
            "(`docker context use default`, unset DOCKER_HOST)"
        )

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """The environment in which docker's command line means this engine."""
        chosen = {key: value for key, value in given.items() if key != "DOCKER_CONTEXT"}
        chosen["DOCKER_HOST"] = self.url
        if self.certificates is not None:
            chosen["DOCKER_CERT_PATH"] = str(self.certificates)
            chosen["DOCKER_TLS_VERIFY"] = "1" if self.verify else ""
        return chosen


def endpoint(given: Mapping[str, str] = os.environ) -> Endpoint:
    """The engine that docker's command line would talk to.

    Raises:
        NoEndpoint: A context is named that is not there.
    """
    if given.get("DOCKER_HOST"):
        return _with_tls(Endpoint(url=given["DOCKER_HOST"], chosen_by="DOCKER_HOST"), given)
    folder = Path(given.get("DOCKER_CONFIG") or Path(given.get("HOME") or Path.home()) / ".docker")
    name, by = given.get("DOCKER_CONTEXT", ""), "DOCKER_CONTEXT"
    if not name:
        name, by = _in_use(folder / "config.json"), "docker context use"
    if not name or name == DEFAULT_CONTEXT:
        return _with_tls(Endpoint(url=DEFAULT_URL, chosen_by="nobody"), given)
    return _of_context(folder / "contexts", name, f"context {name} ({by})")


def _with_tls(chosen: Endpoint, given: Mapping[str, str]) -> Endpoint:
    verify = bool(given.get("DOCKER_TLS_VERIFY"))
    path = given.get("DOCKER_CERT_PATH")
    if not (verify or path):
        return chosen
    return replace(chosen, certificates=Path(path) if path else Path.home() / ".docker", verify=verify)


def _in_use(config: Path) -> str:
    try:
        return str(json.loads(config.read_bytes()).get("currentContext") or "")
    except (OSError, ValueError, AttributeError):
        return ""


def _of_context(store: Path, name: str, chosen_by: str) -> Endpoint:
    identifier = hashlib.sha256(name.encode()).hexdigest()
    path = store / "meta" / identifier / "meta.json"
    try:
        described = json.loads(path.read_bytes())["Endpoints"]["docker"]
        url = str(described["Host"])
        verify = not described.get("SkipTLSVerify", False)
    except FileNotFoundError:
        raise NoEndpoint(f"{chosen_by} does not exist; `docker context ls` lists those that do") from None
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise NoEndpoint(f"{chosen_by} cannot be read from {path}: {exc!r}") from exc
    certificates = store / "tls" / identifier / "docker"
    found = certificates if all((certificates / each).exists() for each in CERTIFICATES) else None
    return Endpoint(url=url, chosen_by=chosen_by, certificates=found, verify=verify)


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
