"""Where a Debian root comes from, and what is said when it comes from nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.engines import supplies
from harness.engines.docker_images import DockerImages
from harness.errors import EnvironmentUnfit, RunFailed

TRIXIE = supplies.RELEASES["trixie"]
DIGEST = "sha256:" + "0" * 64
PACKAGES = {"base": ("python3",), "ztunnel": ()}


class Client:
    """An engine's API that remembers what it was asked."""

    def __init__(
        self, *, registry: bool = True, code: int = 0, build: tuple[dict[str, str], ...] = ()
    ) -> None:
        self.calls: list[tuple[str, Any]] = []
        self._registry, self._code, self._build = registry, code, build

    def inspect_distribution(self, image: str) -> dict[str, Any]:
        if not self._registry:
            raise ConnectionError("nobody answers")
        self.calls.append(("inspect_distribution", image))
        return {"Descriptor": {"digest": DIGEST}}

    def pull(self, image: str) -> None:
        self.calls.append(("pull", image))

    def tag(self, image: str, repository: str, tag: str) -> None:
        self.calls.append(("tag", (image, repository, tag)))

    def import_image_from_file(self, path: str, **names: str) -> str:
        self.calls.append(("import", (path, names)))
        return '{"status":"sha256:abc"}'

    def create_host_config(self, **settings: Any) -> dict[str, Any]:
        return settings

    def create_container(self, image: str, command: list[str], **settings: Any) -> dict[str, str]:
        self.calls.append(("container", image))
        self.calls.append(("script", command[-1]))
        self.calls.append(("binds", settings["host_config"]["binds"]))
        return {"Id": "abc"}

    def start(self, identifier: str) -> None:
        self.calls.append(("start", identifier))

    def wait(self, identifier: str) -> dict[str, int]:
        assert identifier == "abc"
        return {"StatusCode": self._code}

    def logs(self, identifier: str) -> bytes:
        assert identifier == "abc"
        return b"E: no such package\n"

    def remove_container(self, identifier: str, *, force: bool) -> None:
        assert force
        self.calls.append(("remove", identifier))

    def build(self, **settings: Any) -> tuple[dict[str, str], ...]:
        self.calls.append(("build", settings))
        return self._build

    def called(self, name: str) -> list[Any]:
        """What it was asked under that name."""
        return [argument for call, argument in self.calls if call == name]


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def _images(client: Client) -> DockerImages:
    return DockerImages(client, client, (ConnectionError,))


def _ignore(_: str) -> None:
    """Takes lines for the user."""


def test_mmdebstrap_is_taken_where_it_can_be_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(supplies, "bootstrap_unfit", lambda: None)
    monkeypatch.setattr(supplies, "bootstrap", lambda *_: tmp_path)
    client = Client()

    _images(client).load_root("ambientbench/root:123", TRIXIE, _ignore, PACKAGES)

    assert client.calls == [
        ("import", (f"{tmp_path}/root.tar", {"repository": "ambientbench/root", "tag": "123"}))
    ]


def test_without_mmdebstrap_the_public_base_is_pulled_by_digest_and_fetches_the_packages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supplies, "bootstrap_unfit", lambda: "mmdebstrap is not installed")
    client = Client()

    _images(client).load_root("ambientbench/root:123", TRIXIE, _ignore, PACKAGES)

    assert client.called("inspect_distribution") == ["debian:trixie-slim"]
    assert client.called("pull") == [f"debian@{DIGEST}"]
    assert client.called("tag") == [(f"debian@{DIGEST}", "ambientbench/root", "123")]
    (script,) = client.called("script")
    assert "-o Dir::Cache::Archives=/fetched/debs/base install python3" in script
    assert "ztunnel" not in script
    assert client.called("container") == [f"debian@{DIGEST}"]
    assert client.called("remove") == ["abc"]
    assert supplies.debs(TRIXIE, "base", PACKAGES).is_dir()


def test_with_neither_both_reasons_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """F72."""
    monkeypatch.setattr(supplies, "bootstrap_unfit", lambda: "mmdebstrap is not installed")

    with pytest.raises(EnvironmentUnfit, match=r"mmdebstrap is not installed.*nobody answers"):
        _images(Client(registry=False)).load_root("ambientbench/root:123", TRIXIE, _ignore, PACKAGES)


def test_a_fetch_that_fails_leaves_no_half_filled_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(supplies, "bootstrap_unfit", lambda: "mmdebstrap is not installed")
    client = Client(code=100)

    with pytest.raises(RunFailed, match=r"exit code 100.*no such package"):
        _images(client).load_root("ambientbench/root:123", TRIXIE, _ignore, PACKAGES)

    assert client.called("remove") == ["abc"]
    assert list((tmp_path / "ambientbench").iterdir()) == []


def test_a_build_has_no_network_and_its_failure_shows_the_last_lines() -> None:
    said = tuple({"stream": f"line {number}\n"} for number in range(30))
    client = Client(build=(*said, {"error": "the step ended with 1"}))

    with pytest.raises(RunFailed, match=r"ambientbench/app:1") as failed:
        _images(client).build("ambientbench/app:1", b"", {})

    assert client.called("build")[0]["network_mode"] == "none"
    assert "line 29" in str(failed.value)
    assert "line 3\n" not in str(failed.value)
    assert "the step ended with 1" in str(failed.value)
