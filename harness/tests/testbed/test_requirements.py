"""The list of what a run needs: each entry tried, explained and with a remedy."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.agent import features
from harness.agent.probe import NONE
from harness.agent.rules import levels
from harness.engines import supplies
from harness.engines.images import REPOSITORY
from harness.testbed import requirements, trial
from harness.testbed.requirements import REQUIREMENTS, Lacking, Needed, NotTried, Requirement, markdown
from harness.testbed.trial import Result

BY_NAME = {each.name: each for each in REQUIREMENTS}
MEMBERS = {trial.AGENT, trial.PROXY, trial.BACKEND, trial.LOAD, trial.CONTROLPLANE}
OF_THE_AGENT = {*features.FEATURES, features.RULES, features.IPV6, *(set(levels.names()) - {NONE})}


def test_everything_that_is_tried_is_in_the_list_once() -> None:
    names = [each.name for each in REQUIREMENTS]

    assert len(names) == len(set(names))
    assert {trial.FOLDER, trial.START} | MEMBERS | OF_THE_AGENT <= set(names)


@pytest.mark.parametrize("name", sorted({trial.FOLDER, trial.START} | MEMBERS | OF_THE_AGENT))
def test_what_is_tried_is_judged_by_its_own_result(name: str) -> None:
    results = {each: Result(error=None, found="works") for each in BY_NAME}

    assert "works" == BY_NAME[name].look(results)
    with pytest.raises(Lacking, match=r"^broken$"):
        BY_NAME[name].look({**results, name: Result(error="broken")})


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda each: each.name)
def test_each_says_what_it_is_for_what_to_do_and_what_comes_of_it(requirement: Requirement) -> None:
    assert requirement.purpose
    assert requirement.remedy
    assert (requirement.needed is Needed.SOMETIMES) == bool(requirement.without)


def test_what_died_before_it_could_be_tried_is_not_called_lacking() -> None:
    results: Mapping[str, Result] = {trial.AGENT: Result(error="trial-agent ended with 1")}

    with pytest.raises(NotTried, match="see agent"):
        BY_NAME["links"].look(results)


def test_what_was_tried_on_the_host_in_an_images_place_is_said_to_be() -> None:
    good = Result(error=None, found="works", doubt="images: agent")
    bad = Result(error="no such target", doubt="images: agent")

    assert "works on the host" == BY_NAME["tproxy"].look({"tproxy": good})
    with pytest.raises(NotTried, match="it needs images: agent; on the host: no such target"):
        BY_NAME["tproxy"].look({"tproxy": bad})


@pytest.mark.parametrize(
    ("lacking", "name"),
    [
        (lambda m: m.setattr(requirements, "OLDEST_PYTHON", (4, 0)), "python"),
        (lambda m: m.setattr(resource, "getrlimit", lambda _: (64, 64)), "open files"),
        (lambda m: m.setattr(requirements, "MEMORY_BYTES", 1 << 60), "memory"),
        (lambda m: m.setattr(requirements, "DISK_RESULTS_BYTES", 1 << 60), "disk"),
        (lambda m: m.setattr(requirements, "DISK_IMAGES_BYTES", 1 << 60), "disk for images"),
        (lambda m: m.setattr(supplies, "bootstrap_unfit", lambda: "no mmdebstrap"), "images"),
    ],
)
def test_what_the_machine_lacks_is_lacking(
    lacking: Callable[[pytest.MonkeyPatch], None], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F66, F67."""
    lacking(monkeypatch)

    with pytest.raises(Lacking):
        BY_NAME[name].look({})


def test_without_a_limit_there_are_descriptors_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, resource.RLIM_INFINITY))

    assert "no limit" == BY_NAME["open files"].look({})


def test_the_disk_is_looked_at_where_the_folder_would_be(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(supplies, "cache", lambda: tmp_path / "not" / "yet" / "there")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5 << 30))

    assert f"5 GiB free at {tmp_path}" == BY_NAME["disk for images"].look({})


def test_the_readmes_table_has_a_line_for_each() -> None:
    lines = markdown().splitlines()[2:]

    assert [each.name for each in REQUIREMENTS] == [line.split(" | ")[0].removeprefix("| ") for line in lines]
    assert all(line.count(" |") == 4 for line in lines)


def test_the_readme_has_this_table() -> None:
    assert markdown() in (REPOSITORY / "README.md").read_text()
