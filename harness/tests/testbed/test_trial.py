"""A testbed of one member of each kind: what each says, and what is said of one that dies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.engines import choice, fake
from harness.engines.api import EngineModule, Member
from harness.engines.choice import Choice
from harness.errors import EnvironmentUnfit, RunFailed
from harness.testbed import rundir, trial
from harness.testbed.rundir import RunDir


@pytest.fixture
def members(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str, ...]]:
    """Commands to start instead of members' own, filled by the test."""
    instead: dict[str, tuple[str, ...]] = {}
    usual = trial._members

    def altered(directory: Path) -> dict[str, Member]:
        return {
            name: replace(member, command=instead[name]) if name in instead else member
            for name, member in usual(directory).items()
            if name in instead
        }

    monkeypatch.setattr(trial, "_members", altered)
    return instead


@pytest.fixture
def chosen(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Choice:
    """An engine whose members are plain processes, and a folder for runs."""
    short = tmp_path_factory.mktemp("r")
    monkeypatch.setattr(rundir, "base", lambda: short)
    return _choice()


def _choice(**module: Any) -> Choice:
    made = SimpleNamespace(engine=fake.engine, unbuilt=lambda _: [], unfit=lambda: None, **module)
    return Choice(name="fake", module=cast("EngineModule", made), reason="a test")


def test_a_member_that_dies_is_told_with_its_last_words(
    members: dict[str, tuple[str, ...]], chosen: Choice
) -> None:
    members[trial.LOAD] = ("python3", "-c", "import no_such_module")
    members[trial.PROXY] = ("sh", "-c", "exit 3")

    found = trial.results(chosen)

    last_words = found[trial.LOAD].error or ""
    assert last_words.startswith("trial-load ended with 1: ")
    assert last_words.endswith("No module named 'no_such_module'")
    assert "trial-ztunnel ended with 3: without a word" == found[trial.PROXY].error
    assert found[trial.START].error is None
    assert list(rundir.base().iterdir()) == []


def test_a_member_that_never_ends_is_not_awaited_for_ever(
    members: dict[str, tuple[str, ...]], chosen: Choice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "TIMEOUT_S", 0.2)
    members[trial.LOAD] = ("sleep", "1000")

    assert "trial-load no end within 0.2 s: without a word" == trial.results(chosen)[trial.LOAD].error


def test_an_engine_that_cannot_start_members_says_so(chosen: Choice, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as mounts that SELinux forbids: nothing else is then told, and nothing is left."""

    def refuse(*_: object) -> None:
        raise RunFailed("start trial-agent: permission denied")

    monkeypatch.setattr(fake.FakeEngine, "start", refuse)

    found = trial.results(chosen)

    assert {trial.FOLDER, trial.START} == set(found)
    assert "start trial-agent: permission denied" == found[trial.START].error
    assert list(rundir.base().iterdir()) == []


def test_a_run_folder_that_cannot_be_made_is_told(chosen: Choice, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> RunDir:
        raise EnvironmentUnfit("make /run/x, the folder of all runs: Permission denied")

    monkeypatch.setattr(RunDir, "create", refuse)

    (name, result) = next(iter(trial.results(chosen).items()))

    assert (trial.FOLDER, "make /run/x, the folder of all runs: Permission denied") == (name, result.error)


def test_where_images_are_not_built_the_kernel_is_tried_on_the_host_and_said_to_be(
    chosen: Choice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "_tried", lambda *_: {"links": trial.Result(error=None, found="works")})
    monkeypatch.setattr(choice, "named", lambda _: chosen.module)
    unbuilt = SimpleNamespace(engine=fake.engine, unbuilt=lambda _: ["agent", "app"], unfit=lambda: None)

    found = trial.results(replace(chosen, module=cast("EngineModule", unbuilt)))

    assert ("works", None) == (found["links"].found, found["links"].error)
    assert all("agent, app" in each.doubt for each in found.values())
    assert found[trial.PROXY].error is not None


@pytest.mark.netns
def test_here_every_member_does_what_it_is_for() -> None:
    found = trial.results(Choice(name="netns", module=choice.named("netns"), reason="a test"))

    wrong = {name: each.error for name, each in found.items() if each.error is not None}
    assert set() == set(wrong) - {"netem"}
    assert {trial.BACKEND, trial.PROXY, trial.LOAD, "conntrack table", "rules"} <= set(found)


@pytest.mark.docker
def test_in_images_every_member_does_what_it_is_for() -> None:
    module = choice.named("docker")
    with_images = Choice(name="docker", module=module, reason="a test")
    directory = RunDir.create(engine="docker", suite="trial", lanes=[])
    try:
        module.engine(directory.run).prepare(lambda _: None, trial.images())
    finally:
        directory.remove()

    found = trial.results(with_images)

    wrong = {name: each.error for name, each in found.items() if each.error is not None}
    assert set() == set(wrong) - {"netem"}
    assert "python-iptables: the first to be tried" == found["rules"].found
    assert [] == [each for each in module.remains() if "trial" in str(each.things)]
