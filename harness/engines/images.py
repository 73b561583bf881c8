"""What the images hold, how they are named, and in which order they are built.

Recipes are read from `images/` (`harness.shipped`); a tag is the hash of everything that goes in.
The engine that has images gives an `ImageStore`; where the ingredients come from is `supplies`.
"""

from __future__ import annotations

import hashlib
import io
import logging
import platform
import tarfile
import time
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Protocol

from harness import shipped
from harness.engines import supplies
from harness.engines.supplies import Release

log = logging.getLogger("harness.engines.images")

REPOSITORY = shipped.ROOT
"""What the paths of a recipe's code begin at; site-packages where this is installed."""
FOLDER = shipped.IMAGES
PREFIX = "ambientbench"
BUILD_THREADS = 2
"""A build is one container after another on the engine; two at a time keep two cores busy."""


class ImageStore(Protocol):
    """The part of an engine that images need."""

    def exists(self, tag: str) -> bool:
        """Whether an image of that name is there."""

    def load_root(
        self, tag: str, release: Release, told: Callable[[str], None], debs: Mapping[str, tuple[str, ...]]
    ) -> None:
        """Make an image of a release's bare root, and have the Debian packages in the cache."""

    def build(self, tag: str, context: bytes, arguments: Mapping[str, str]) -> None:
        """Build an image from a tar with a Dockerfile, without network."""

    def latest(self, tag: str) -> None:
        """Let `:latest` of the tag's repository be this image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What `image.toml` and the Dockerfile beside it say."""

    name: str
    dockerfile: bytes
    debian: tuple[str, ...]
    python: tuple[str, ...]
    compiled: tuple[str, ...]
    code: tuple[str, ...]
    release: Release


def recipes() -> dict[str, Recipe]:
    """All recipes by name.

    Raises:
        ValueError: One names a Debian release that nothing is known of.
    """
    found = {}
    for path in sorted(FOLDER.glob("*/image.toml")):
        document = tomllib.loads(path.read_text())
        release = document.pop("release", supplies.USUAL)
        if release not in supplies.RELEASES:
            known = ", ".join(sorted(supplies.RELEASES))
            raise ValueError(f"{path}: unknown Debian release {release!r}; known: {known}")
        fields = {key: tuple(value) for key, value in document.items()}
        found[path.parent.name] = Recipe(
            name=path.parent.name,
            dockerfile=(path.parent / "Dockerfile").read_bytes(),
            release=supplies.RELEASES[release],
            **fields,
        )
    return found


def tags() -> dict[str, str]:
    """Image name -> tag of the complete image, as it has to be now. Reads files, builds nothing."""
    known = recipes()
    return {name: _code_tag(known, recipe) for name, recipe in known.items() if recipe.code}


def build_missing(store: ImageStore, told: Callable[[str], None], wanted: Collection[str] = ()) -> None:
    """Build whatever does not exist, in order: root, base, the others two at a time.

    Args:
        store: Where the images go.
        told: Takes a line for the user before and after what takes long.
        wanted: Names of images; all when empty.
    """
    known = recipes()
    missing = [
        name for name, tag in tags().items() if (not wanted or name in wanted) and not store.exists(tag)
    ]
    if not missing:
        return
    begin = time.monotonic()
    incomplete = [name for name in missing if not store.exists(_deps_tag(known, known[name]))]
    if incomplete:
        told("building images; the first time takes some minutes, later only what has changed is built")
        by_release: dict[Release, list[Recipe]] = {}
        for name in incomplete:
            by_release.setdefault(known[name].release, []).append(known[name])
        # a root waits for Debian's servers for most of its time
        with ThreadPoolExecutor(len(by_release), thread_name_prefix="base") as pool:
            list(pool.map(lambda r: _build_base(store, known, r, by_release[r], told), by_release))
    # What is compiled takes longest (it needs the builder first), so it begins first.
    missing.sort(key=lambda name: (not known[name].compiled, name))
    with ThreadPoolExecutor(BUILD_THREADS, thread_name_prefix="build") as pool:
        list(pool.map(lambda name: _complete(store, known, known[name], told), missing))
    told(f"images ready in {time.monotonic() - begin:.0f} s: {', '.join(missing)}")


def _build_base(
    store: ImageStore,
    known: Mapping[str, Recipe],
    release: Release,
    incomplete: Sequence[Recipe],
    told: Callable[[str], None],
) -> None:
    """What every image of a release starts from; wheels for the incomplete ones come meanwhile."""
    root, debian = _root_tag(known, release), _debian(known, release)
    # Packages fetched today may not suit a root of last month: where theirs are gone, both are made anew.
    anew = not (store.exists(root) and supplies.debian_folder(release, debian).exists())
    if anew:
        # Making the root waits for Debian's servers and one core.
        with ThreadPoolExecutor(1, thread_name_prefix="fetch") as pool:
            fetched = [pool.submit(_fetch, recipe) for recipe in incomplete]
            store.load_root(root, release, told, debian)
            for each in fetched:
                each.result()
    _build_deps(store, known, replace(known["base"], release=release), told, anew=anew)


def _fetch(recipe: Recipe) -> None:
    """Have in the cache what the recipe needs of Python's packages."""
    if recipe.python:
        supplies.site(recipe.release, _pinned(recipe.python))
    if recipe.compiled:
        supplies.sources(_pinned(recipe.compiled))


def _complete(
    store: ImageStore, known: Mapping[str, Recipe], recipe: Recipe, told: Callable[[str], None]
) -> None:
    _build_deps(store, known, recipe, told)
    tag = _code_tag(known, recipe)
    context = {"Dockerfile": (FOLDER / "code" / "Dockerfile").read_bytes()}
    context |= {f"code/{name}": content for name, content in _code(recipe)}
    store.build(tag, _tar(context.items()), {"DEPS": _deps_tag(known, recipe)})
    store.latest(tag)
    log.info("image built tag=%s", tag)


def _build_deps(
    store: ImageStore,
    known: Mapping[str, Recipe],
    recipe: Recipe,
    told: Callable[[str], None],
    *,
    anew: bool = False,
) -> None:
    tag = _deps_tag(known, recipe)
    if store.exists(tag) and not anew:
        return
    begin = time.monotonic()
    context = [("Dockerfile", recipe.dockerfile)]
    if recipe.debian:
        debs = supplies.debs(recipe.release, recipe.name, _debian(known, recipe.release))
        context += _folder("debs", debs, "*.deb")
    if recipe.python:
        context += _folder("site", supplies.site(recipe.release, _pinned(recipe.python)), "**/*")
    if recipe.compiled:
        context += _folder("sources", supplies.sources(_pinned(recipe.compiled)), "*.tar.gz")
    arguments = (
        {"ROOT": _root_tag(known, recipe.release)}
        if recipe.name == "base"
        else {"BASE": _deps_tag(known, _same_release(known, "base", recipe))}
    )
    if recipe.compiled:
        builder = _same_release(known, "builder", recipe)
        _build_deps(store, known, builder, told)
        arguments["BUILDER"] = _deps_tag(known, builder)
    store.build(tag, _tar(context), arguments)
    told(f"image {recipe.name}: dependencies built in {time.monotonic() - begin:.0f} s")


def _same_release(known: Mapping[str, Recipe], name: str, recipe: Recipe) -> Recipe:
    """The recipe of that name, made of another's release."""
    return replace(known[name], release=recipe.release)


def _root_tag(known: Mapping[str, Recipe], release: Release) -> str:
    packages = supplies.names(_debian(known, release))
    return f"{PREFIX}/root:{_digest(release.name, platform.machine(), *packages)}"


def _debian(known: Mapping[str, Recipe], release: Release) -> dict[str, tuple[str, ...]]:
    """Debian packages by image, of the images of a release and of those that these are made from."""
    of_release = [recipe for recipe in known.values() if recipe.code and recipe.release is release]
    names = {recipe.name for recipe in of_release} | {"base"}
    if any(recipe.compiled for recipe in of_release):
        names.add("builder")
    return {name: recipe.debian for name, recipe in known.items() if name in names}


def _deps_tag(known: Mapping[str, Recipe], recipe: Recipe) -> str:
    parts: list[str | bytes] = [recipe.dockerfile]
    parts += [*recipe.debian, *_pinned(recipe.python), *_pinned(recipe.compiled)]
    if recipe.name == "base":
        parts.append(_root_tag(known, recipe.release))
    else:
        parts.append(_deps_tag(known, _same_release(known, "base", recipe)))
    if recipe.compiled:
        parts.append(_deps_tag(known, _same_release(known, "builder", recipe)))
    return f"{PREFIX}/{recipe.name}-deps:{_digest(*parts)}"


def _code_tag(known: Mapping[str, Recipe], recipe: Recipe) -> str:
    parts: list[str | bytes] = [_deps_tag(known, recipe), (FOLDER / "code" / "Dockerfile").read_bytes()]
    for name, content in _code(recipe):
        parts += [name, content]
    return f"{PREFIX}/{recipe.name}:{_digest(*parts)}"


def _digest(*parts: str | bytes) -> str:
    whole = hashlib.sha256()
    for part in parts:
        encoded = part.encode() if isinstance(part, str) else part
        whole.update(len(encoded).to_bytes(8, "big") + encoded)
    return whole.hexdigest()[:16]


def _pinned(names: Iterable[str]) -> tuple[str, ...]:
    """The versions that the harness itself runs with: both engines then run the same code."""
    pinned = []
    for name in names:
        try:
            pinned.append(f"{name}=={metadata.version(name)}")
        except metadata.PackageNotFoundError:
            pinned.append(name)
    return tuple(pinned)


def _code(recipe: Recipe) -> Iterator[tuple[str, bytes]]:
    """(path in the repository, content) of the recipe's own code, in a fixed order, tests left out."""
    for entry in recipe.code:
        path = REPOSITORY / entry
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            relative = file.relative_to(REPOSITORY)
            if file.is_file() and not {"tests", "__pycache__"} & set(relative.parts):
                yield str(relative), file.read_bytes()


def _folder(name: str, folder: Path, pattern: str) -> list[tuple[str, bytes]]:
    files = sorted(file for file in folder.glob(pattern) if file.is_file())
    return [(f"{name}/{file.relative_to(folder)}", file.read_bytes()) for file in files]


def _tar(files: Iterable[tuple[str, bytes]]) -> bytes:
    """A build context that depends on names and contents only: the engine's cache sees no times."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
