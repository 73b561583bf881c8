"""Which engine is taken, and what is said about it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from harness.engines import choice
from harness.errors import EnvironmentUnfit, UsageError


def _engines(monkeypatch: pytest.MonkeyPatch, **unfit: str | None) -> None:
    modules = {name: SimpleNamespace(unfit=lambda reason=reason: reason) for name, reason in unfit.items()}
    monkeypatch.setattr(choice, "named", lambda name: modules[name])


def test_the_engines_are_found_by_file() -> None:
    assert choice.known() == ["docker", "netns"]


def test_docker_is_taken_where_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    _engines(monkeypatch, docker=None, netns=None)

    assert choice.choose("").name == "docker"


def test_netns_is_taken_where_docker_does_not_work_and_the_reason_is_dockers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _engines(monkeypatch, docker="nobody answers", netns=None)

    chosen = choice.choose("")

    assert (chosen.name, chosen.reason) == ("netns", "not docker: nobody answers")


def test_no_engine_is_an_unfit_environment_with_every_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """F66."""
    _engines(monkeypatch, docker="nobody answers", netns="forbidden")

    with pytest.raises(EnvironmentUnfit, match=r"nobody answers.*forbidden"):
        choice.choose("")


def test_a_requested_engine_that_does_not_work_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    _engines(monkeypatch, docker="nobody answers", netns=None)

    with pytest.raises(EnvironmentUnfit, match=r"docker was asked for, but nobody answers"):
        choice.choose("docker")


def test_an_unknown_engine_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"'podman'; known: docker, netns"):
        choice.choose("podman")
