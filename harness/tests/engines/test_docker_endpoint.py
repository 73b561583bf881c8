"""Which engine is meant: the one that docker's command line means, or an error, never another."""

from __future__ import annotations

import gc
import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.engines import docker
from harness.engines.api import Run
from harness.engines.docker_endpoint import DEFAULT_URL, Endpoint, NoEndpoint, endpoint
from harness.engines.owner import Owner

Given = dict[str, str]


@pytest.fixture
def given(tmp_path: Path) -> Given:
    """An environment with a folder of docker's own that holds contexts `near` and `far`."""
    for name, url in (("near", "unix:///run/near.sock"), ("far", "ssh://user@far")):
        _context(tmp_path, name, {"Host": url, "SkipTLSVerify": False})
    return {"DOCKER_CONFIG": str(tmp_path), "HOME": "/nonexistent"}


def _context(folder: Path, name: str, docker_endpoint: dict[str, Any]) -> Path:
    identifier = hashlib.sha256(name.encode()).hexdigest()
    meta = folder / "contexts" / "meta" / identifier
    meta.mkdir(parents=True)
    document = {"Name": name, "Metadata": {}, "Endpoints": {"docker": docker_endpoint}}
    (meta / "meta.json").write_text(json.dumps(document))
    return folder / "contexts" / "tls" / identifier / "docker"


def _use(given: Given, name: str) -> None:
    """`docker context use`."""
    Path(given["DOCKER_CONFIG"], "config.json").write_text(json.dumps({"currentContext": name}))


def test_without_a_choice_it_is_the_default_socket(given: Given) -> None:
    assert Endpoint(url=DEFAULT_URL, chosen_by="nobody") == endpoint(given)
    assert Endpoint(url=DEFAULT_URL, chosen_by="nobody") == endpoint({"HOME": "/nonexistent"})


@pytest.mark.parametrize(
    ("settings", "used", "url", "by"),
    [
        ({}, "near", "unix:///run/near.sock", "context near (docker context use)"),
        ({"DOCKER_CONTEXT": "near"}, "", "unix:///run/near.sock", "context near (DOCKER_CONTEXT)"),
        ({"DOCKER_CONTEXT": "near"}, "far", "unix:///run/near.sock", "context near (DOCKER_CONTEXT)"),
        ({"DOCKER_CONTEXT": "default"}, "near", DEFAULT_URL, "nobody"),
        ({}, "default", DEFAULT_URL, "nobody"),
        ({"DOCKER_HOST": "unix:///x", "DOCKER_CONTEXT": "far"}, "near", "unix:///x", "DOCKER_HOST"),
        (
            {"DOCKER_HOST": "", "DOCKER_CONTEXT": ""},
            "near",
            "unix:///run/near.sock",
            "context near (docker context use)",
        ),
    ],
)
def test_the_choice_is_made_as_dockers_command_line_makes_it(
    settings: Given, used: str, url: str, by: str, given: Given
) -> None:
    """B21."""
    if used:
        _use(given, used)

    found = endpoint({**given, **settings})

    assert (url, by) == (found.url, found.chosen_by)


@pytest.mark.parametrize("choose", [lambda g: g.update(DOCKER_CONTEXT="nope"), lambda g: _use(g, "nope")])
def test_a_context_that_is_not_there_is_an_error_and_not_the_default(
    choose: Callable[[Given], None], given: Given
) -> None:
    """B21: `docker ps` fails there too, and docker-py takes the default socket."""
    choose(given)

    with pytest.raises(NoEndpoint, match=r"context nope \(.*\) does not exist; `docker context ls`"):
        endpoint(given)


def test_a_context_that_cannot_be_read_is_named_with_its_file(given: Given) -> None:
    path = next(Path(given["DOCKER_CONFIG"]).rglob("meta.json"))
    path.write_text("{")
    (name,) = [n for n in ("near", "far") if hashlib.sha256(n.encode()).hexdigest() in str(path)]

    with pytest.raises(NoEndpoint, match=rf"context {name} .* cannot be read from .*meta\.json"):
        endpoint({**given, "DOCKER_CONTEXT": name})


@pytest.mark.parametrize(
    "url",
    [
        "ssh://u@h",
        "tcp://10.0.0.5:2376",
        "tcp://docker:2375",
        "10.0.0.5:2375",
        "tcp://[2001:db8::1]:2375",
        "npipe:////./pipe/x",
    ],
)
def test_another_machine_is_refused_in_plain_words(url: str) -> None:
    """B32."""
    said = endpoint({"DOCKER_HOST": url}).elsewhere

    assert said is not None
    assert said.startswith(f"DOCKER_HOST names the engine at {url}, which is on another machine")


@pytest.mark.parametrize(
    "url", ["unix:///var/run/docker.sock", "tcp://127.0.0.1:2375", "tcp://localhost:2376", "tcp://[::1]:2375"]
)
def test_an_address_of_this_machine_is_not(url: str) -> None:
    assert endpoint({"DOCKER_HOST": url}).elsewhere is None


def test_certificates_come_from_the_environment_or_from_the_context(given: Given, tmp_path: Path) -> None:
    folder = _context(tmp_path, "sealed", {"Host": "tcp://127.0.0.1:2376", "SkipTLSVerify": False})
    folder.mkdir(parents=True)
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (folder / name).touch()

    of_context = endpoint({**given, "DOCKER_CONTEXT": "sealed"})
    of_host = endpoint(
        {"DOCKER_HOST": "tcp://127.0.0.1:1", "DOCKER_CERT_PATH": "/c", "DOCKER_TLS_VERIFY": "1"}
    )

    assert (folder, True) == (of_context.certificates, of_context.verify)
    assert (Path("/c"), True) == (of_host.certificates, of_host.verify)


def test_dockers_command_line_is_given_the_same_engine(given: Given) -> None:
    """B21."""
    settings = {**given, "DOCKER_CONTEXT": "near", "TERM": "xterm"}

    passed_on = endpoint(settings).environment(settings)

    assert {**given, "DOCKER_HOST": "unix:///run/near.sock", "TERM": "xterm"} == passed_on
    assert "unix:///run/near.sock" == endpoint(passed_on).url


def _chosen(monkeypatch: pytest.MonkeyPatch, settings: Given) -> None:
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)


# docker-py does not close the socket of a client that cannot be made
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"DOCKER_HOST": "ssh://u@h"},
            "DOCKER_HOST names the engine at ssh://u@h, which is on another machine",
        ),
        ({"DOCKER_CONTEXT": "far"}, "context far (DOCKER_CONTEXT) names the engine at ssh://user@far"),
        ({"DOCKER_CONTEXT": "nope"}, "context nope (DOCKER_CONTEXT) does not exist"),
        ({"DOCKER_CONTEXT": "near"}, "no Docker engine answers at unix:///run/near.sock"),
    ],
)
def test_the_engine_that_cannot_be_used_is_the_one_that_was_chosen(
    settings: Given, said: str, given: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B21, B32."""
    _chosen(monkeypatch, {**given, **settings})

    assert (docker.unfit() or "").startswith(said)
    gc.collect()


def test_an_interactive_command_goes_to_the_same_engine(
    given: Given, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """B21: docker's command line went to the context's engine, where there is no such container."""
    _chosen(monkeypatch, {**given, "DOCKER_CONTEXT": "near"})
    monkeypatch.setattr(docker.docker, "APIClient", lambda **_: SimpleNamespace())  # type: ignore[attr-defined]
    made = docker.DockerEngine(Run(id="t1", directory=tmp_path, owner=Owner.current()))
    ran: list[tuple[list[str], Given]] = []

    def run(command: list[str], *, check: bool, env: Given) -> SimpleNamespace:
        assert not check
        ran.append((command, env))
        return SimpleNamespace(returncode=7)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(docker.shutil, "which", lambda name: f"/usr/bin/{name}")  # type: ignore[attr-defined]

    done = made.execute("client", ["sh"], interactive=True)

    ((command, env),) = ran
    assert 7 == done.returncode
    assert ["ambientbench-t1-client", "sh"] == command[-2:]
    assert "unix:///run/near.sock" == env["DOCKER_HOST"]
    assert "DOCKER_CONTEXT" not in env


@pytest.mark.docker
def test_a_context_of_the_real_engine_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _context(tmp_path, "mine", {"Host": DEFAULT_URL})
    _chosen(monkeypatch, {"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "mine"})

    assert docker.unfit() is None
    assert [] == [each for each in docker.remains() if each.run_id == "no such run"]
