"""Runs of their own for engine tests, on each engine."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.engines import choice, fake
from harness.engines.api import Engine, Member, Role, Run
from harness.engines.owner import Owner

IDLE = ("python3", "-m", "harness.engines.idle")


def member(name: str, *command: str, namespace: str = "", **fields: object) -> Member:
    """A member that idles unless told otherwise, in a namespace of its own name."""
    return Member(
        name=name,
        role=Role.NODE,
        node="a",
        image="base",
        namespace=namespace or name,
        command=command or IDLE,
        **fields,  # type: ignore[arg-type]  # fields of Member, as the test names them
    )


def new_run(directory: Path) -> Run:
    """A run with an id that no other test has; the folder is short, for unix sockets."""
    return Run(id=f"t{secrets.token_hex(3)}", directory=directory, owner=Owner.current())


@pytest.fixture
def short_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a short path."""
    return tmp_path_factory.mktemp("r")


REAL = [
    pytest.param("docker", marks=pytest.mark.docker),
    pytest.param("netns", marks=pytest.mark.netns),
]


@pytest.fixture(params=["fake", *REAL])
def engine(request: pytest.FixtureRequest, short_dir: Path) -> Iterator[Engine]:
    """Every engine; what a test starts is removed after it."""
    yield from _engine(request.param, short_dir)


@pytest.fixture(params=REAL)
def real_engine(request: pytest.FixtureRequest, short_dir: Path) -> Iterator[Engine]:
    """Every engine that isolates."""
    yield from _engine(request.param, short_dir)


def _engine(name: str, directory: Path) -> Iterator[Engine]:
    run = new_run(directory)
    made: Engine = fake.engine(run) if name == "fake" else choice.named(name).engine(run)
    made.prepare(lambda _: None)
    try:
        yield made
    finally:
        made.remove()
        made.close()
