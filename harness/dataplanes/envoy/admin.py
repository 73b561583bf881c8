"""Envoy's administration interface over its unix socket."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Mapping
from pathlib import Path

TIMEOUT_S = 10.0
PAUSE_S = 0.02


class AdminError(Exception):
    """Envoy does not answer as it should; the message says at which socket, and what came."""


class Admin(http.client.HTTPConnection):
    """One connection to it, opened again when it broke."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        """Connect to the unix socket instead of a port."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))

    def fetch(self, target: str) -> str:
        """What Envoy answers to a GET.

        Raises:
            AdminError: Nobody answers, or not with 200.
        """
        try:
            self.request("GET", target)
            response = self.getresponse()
            body = response.read().decode()
        except (OSError, http.client.HTTPException) as exc:
            self.close()
            raise AdminError(f"Envoy's administration at {self._path}: GET {target}: {exc!r}") from exc
        if response.status != http.HTTPStatus.OK:
            raise AdminError(
                f"Envoy's administration at {self._path}: GET {target}: {response.status} {body[:200]!r}"
            )
        return body

    def counters(self, filter_: str) -> Mapping[str, int]:
        """Counters and gauges whose names match a regular expression (RE2)."""
        found = json.loads(self.fetch(f"/stats?format=json&filter={filter_}"))
        return {each["name"]: each["value"] for each in found["stats"] if "value" in each}

    def version(self) -> str:
        """Its own words: commit, version, state of the tree, kind of build, TLS library."""
        return str(json.loads(self.fetch("/server_info"))["version"])

    def await_ready(self) -> None:
        """Wait until Envoy listens and has all of its configuration.

        Raises:
            AdminError: Not within `TIMEOUT_S`.
        """
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            try:
                self.fetch("/ready")
            except AdminError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(PAUSE_S)
            else:
                return
