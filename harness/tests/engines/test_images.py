"""Recipes, tags and the order of builds, against a store that only remembers."""

from __future__ import annotations

import ast
import io
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from harness.engines import images, supplies
from harness.engines.images import REPOSITORY, build_missing, recipes, tags
from harness.engines.supplies import Release

USUAL = supplies.RELEASES[supplies.USUAL]


class Remembering:
    """An image store without an engine."""

    def __init__(self) -> None:
        self.present: set[str] = set()
        self.built: list[str] = []
        self.contexts: dict[str, list[str]] = {}
        self.arguments: dict[str, Mapping[str, str]] = {}
        self.roots: dict[str, dict[str, tuple[str, ...]]] = {}

    def exists(self, tag: str) -> bool:
        return tag in self.present

    def load_root(
        self, tag: str, release: Release, told: Callable[[str], None], debs: Mapping[str, tuple[str, ...]]
    ) -> None:
        self.roots[release.name] = dict(debs)
        told("root")
        self.present.add(tag)
        self.built.append(_name(tag))

    def build(self, tag: str, context: bytes, arguments: Mapping[str, str]) -> None:
        assert set(arguments.values()) <= self.present
        with tarfile.open(fileobj=io.BytesIO(context)) as archive:
            self.contexts[_name(tag)] = archive.getnames()
        self.arguments[_name(tag)] = arguments
        self.present.add(tag)
        self.built.append(_name(tag))

    def latest(self, tag: str) -> None:
        assert tag in self.present


def _name(tag: str) -> str:
    return tag.partition("/")[2].rpartition(":")[0]


@pytest.fixture(autouse=True)
def _no_fetching(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ingredients that nobody has to fetch."""
    (tmp_path / "a.deb").write_text("deb")
    (tmp_path / "a.tar.gz").write_text("source")
    monkeypatch.setattr(supplies, "debian_folder", lambda *_: tmp_path)
    monkeypatch.setattr(supplies, "debs", lambda *_: tmp_path)
    monkeypatch.setattr(supplies, "site", lambda *_: tmp_path)
    monkeypatch.setattr(supplies, "sources", lambda _: tmp_path)


def test_what_depends_comes_after_what_it_depends_on() -> None:
    store = Remembering()

    build_missing(store, lambda _: None)

    order = store.built
    assert order[0] == "root"
    assert order.index("base-deps") < min(order.index(name) for name in ("app-deps", "ztunnel-deps"))
    assert order.index("builder-deps") < order.index("agent-deps") < order.index("agent")
    assert set(tags()) == {name for name in order if not name.endswith("-deps")} - {"root"}


def test_nothing_is_built_when_everything_is_there() -> None:
    store = Remembering()
    build_missing(store, lambda _: None)
    store.built.clear()
    told: list[str] = []

    build_missing(store, told.append)

    assert store.built == []
    assert told == []


def test_root_and_base_are_made_anew_where_their_packages_are_gone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A cache that somebody cleared: packages of another day need not suit the root that is there."""
    store = Remembering()
    build_missing(store, lambda _: None, wanted=["base"])
    assert store.built == ["root", "base-deps", "base"]
    monkeypatch.setattr(supplies, "debian_folder", lambda *_: tmp_path / "gone")

    build_missing(store, lambda _: None, wanted=["app"])

    assert store.built[3:] == ["root", "base-deps", "app-deps", "app"]


def test_a_change_of_code_rebuilds_the_last_layer_of_the_images_that_hold_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = Remembering()
    build_missing(store, lambda _: None)
    store.built.clear()
    real = images._code

    def changed(recipe: images.Recipe) -> Iterator[tuple[str, bytes]]:
        for name, content in real(recipe):
            yield name, content + (b"\n" if name == "harness/engines/idle.py" else b"")

    monkeypatch.setattr(images, "_code", changed)

    build_missing(store, lambda _: None)

    assert store.built == ["base"]


def test_a_change_of_a_dockerfile_rebuilds_that_image_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = tags()
    known = recipes()
    known["app"] = replace(known["app"], dockerfile=known["app"].dockerfile + b"\n")
    monkeypatch.setattr(images, "recipes", lambda: known)

    after = tags()

    assert {name for name in before if before[name] != after[name]} == {"app"}


def of_release(monkeypatch: pytest.MonkeyPatch, name: str, release: str) -> None:
    """Let an image be made of this Debian release, and every other one of the usual."""
    known = {each.name: replace(each, release=USUAL) for each in recipes().values()}
    known[name] = replace(known[name], release=supplies.RELEASES[release])
    monkeypatch.setattr(images, "recipes", lambda: known)


def test_an_image_of_another_release_stands_on_a_root_and_a_base_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """D20: the proxy's OpenSSL may be newer than the agents' iptables."""
    of_release(monkeypatch, "ztunnel", "bookworm")
    before = tags()
    of_release(monkeypatch, "ztunnel", "trixie")
    store = Remembering()

    build_missing(store, lambda _: None)

    assert {"ztunnel"} == {name for name in before if before[name] != tags()[name]}
    assert {"bookworm", "trixie"} == set(store.roots)
    assert {"base": ("python3",), "ztunnel": ()} == store.roots["trixie"]
    assert "ztunnel" not in store.roots["bookworm"]
    assert ("nginx",) == store.roots["bookworm"]["app"]
    assert store.arguments["ztunnel-deps"]["BASE"] != store.arguments["app-deps"]["BASE"]


def test_what_is_compiled_is_compiled_in_its_own_release(monkeypatch: pytest.MonkeyPatch) -> None:
    of_release(monkeypatch, "agent", "trixie")
    store = Remembering()

    build_missing(store, lambda _: None, wanted=["agent"])

    assert {"trixie"} == set(store.roots)
    assert "gcc" in store.roots["trixie"]["builder"]
    assert "builder-deps" in store.built
    assert store.arguments["builder-deps"]["BASE"] == store.arguments["agent-deps"]["BASE"]


def test_a_release_that_nobody_knows_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "image.toml").write_text('release = "sarge"\n')
    monkeypatch.setattr(images, "FOLDER", tmp_path)

    with pytest.raises(ValueError, match="unknown Debian release 'sarge'; known: bookworm, trixie"):
        recipes()


def test_an_image_gets_its_code_its_dependencies_and_no_tests() -> None:
    store = Remembering()

    build_missing(store, lambda _: None)

    assert "Dockerfile" in store.contexts["ztunnel"]
    assert "code/proxy/__main__.py" in store.contexts["ztunnel"]
    assert not [name for name in store.contexts["ztunnel"] if "tests" in name or "harness" in name]
    assert "debs/a.deb" in store.contexts["app-deps"]
    assert "sources/a.tar.gz" in store.contexts["agent-deps"]


@pytest.mark.parametrize("name", sorted(tags()))
def test_an_image_holds_whatever_of_ours_its_code_imports(name: str) -> None:
    held = {path for path, _ in images._code(recipes()[name])}

    missing = {
        f"{path} imports {module}"
        for path in held
        if path.endswith(".py")
        for module in _imports((REPOSITORY / path).read_text())
        if not ({f"{module}.py", f"{module}/__init__.py"} & held)
    }

    assert missing == set()


def _imports(source: str) -> set[str]:
    """Our own modules that a file imports, as paths without their ending."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            for alias in node.names:
                path = REPOSITORY / node.module.replace(".", "/") / f"{alias.name}.py"
                if path.exists():
                    found.add(f"{node.module}.{alias.name}")
    return {name.replace(".", "/") for name in found if name.split(".")[0] in {"harness", "proxy"}}
