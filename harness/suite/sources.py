"""Suite files: find them, read them, follow `extends`, apply `-s key=value`, tell a key's line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import shipped
from harness.suite.problems import Key, Problem, SuiteError, nearest, shown

MAX_BYTES = 1 << 20
"""Longest suite file read: thousands of times what a suite needs."""

SHIPPED = shipped.SUITES
"""The suites that come with the program."""
HERE = Path("suites")
"""The user's own, in the current folder."""

_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(#.*)?$")
_ASSIGNMENT = re.compile(
    r"^\s*((?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*'))*)\s*="
)
_PART = re.compile(r"\"([^\"]*)\"|'([^']*)'|([A-Za-z0-9_-]+)")
_OVERRIDE_PART = re.compile(r"([A-Za-z0-9_-]+)((?:\[\d+\])*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One suite file."""

    path: Path
    text: str
    document: dict[str, Any]
    lines: Mapping[Key, int]

    def line(self, key: Key) -> tuple[int, int]:
        """How many leading parts of a key stand in this file, and on which line the last of them does."""
        for length in range(len(key), 0, -1):
            if key[:length] in self.lines:
                return length, self.lines[key[:length]]
        return 0, 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What all files and overrides say together."""

    document: dict[str, Any]
    chain: tuple[Source, ...]
    """The named file first, then what it extends."""
    overrides: Mapping[Key, str]
    """Keys set on the command line -> the option as written."""

    def where(self, key: Key) -> str:
        """The file and line (or the option) that set a key, as precisely as is known."""
        for set_key, option in self.overrides.items():
            if key[: len(set_key)] == set_key:
                return f"-s {option}"
        best = max(self.chain, key=lambda source: source.line(key)[0])
        length, line = best.line(key)
        return f"{best.path}:{line}" if length else str(self.chain[0].path)


def known_suites(folder: Path = SHIPPED) -> list[str]:
    """Names of the suites in a folder, sorted."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def find_suite(name: str | Path) -> Path:
    """The file meant by a path or by a bare name (`quick`), the latter in ./suites, then as shipped.

    Raises:
        SuiteError: There is no such suite.
    """
    path = Path(name)
    if path.suffix == ".toml" or len(path.parts) > 1:
        return path
    for folder in (HERE, SHIPPED):
        if (folder / f"{name}.toml").is_file():
            return folder / f"{name}.toml"
    known = _known(HERE, SHIPPED)
    raise SuiteError(
        [
            Problem(
                where=str(name),
                key="",
                found="no suite of that name",
                allowed=", ".join([*known, "or the path of a .toml file"]),
                meant=nearest(name, known),
            )
        ]
    )


def read(path: Path, overrides: Sequence[str] = ()) -> Merged:
    """Read a suite file and everything it extends, then apply overrides.

    Raises:
        SuiteError: A file cannot be read or is no TOML; `extends` leads nowhere or in a circle; an
            override has no form or no place.
    """
    chain = tuple(_chain(path))
    document: dict[str, Any] = {}
    for source in reversed(chain):
        document = _merge(document, source.document)
    document.pop("extends", None)
    applied: dict[Key, str] = {}
    for option in overrides:
        key, value = _parse_override(option)
        _assign(document, key, value, option)
        applied[key] = option
    return Merged(document=document, chain=chain, overrides=applied)


def _chain(path: Path) -> Iterator[Source]:
    seen: list[Path] = []
    while True:
        seen.append(path.resolve())
        source = _read_one(path)
        yield source
        base = source.document.get("extends")
        if base is None:
            return
        where = f"{path}:{source.line(('extends',))[1]}"
        if not isinstance(base, str) or not re.fullmatch(r"[A-Za-z0-9_-]+(\.toml)?", base):
            raise _problem(
                where, "extends", f"found {base!r}", 'the name of a suite, as in extends = "smoke"'
            )
        path = _base(path, base.removesuffix(".toml"), seen, where)


def _base(path: Path, name: str, seen: Sequence[Path], where: str) -> Path:
    """What a suite extends: one beside it, in ./suites or shipped; not itself, nor what leads to it.

    So a suite may extend the shipped one of its own name.
    """
    folders = (path.parent, HERE, SHIPPED)
    there = [folder / f"{name}.toml" for folder in folders if (folder / f"{name}.toml").is_file()]
    for candidate in there:
        if candidate.resolve() not in seen:
            return candidate
    if there:
        names = " -> ".join(each.stem for each in [*seen, there[0]])
        raise _problem(where, "extends", f"leads back to where it came from: {names}")
    known = [each for each in _known(*folders) if each != path.stem]
    looked = f"{path.parent}/, ./{HERE}/ or among the shipped ones"
    raise _problem(
        where, "extends", f"there is no {name}.toml in {looked}", ", ".join(known), nearest(name, known)
    )


def _known(*folders: Path) -> list[str]:
    """Names of the suites in folders; a file of another kind, such as pyproject.toml, is no suite."""
    return sorted({name for folder in folders for name in known_suites(folder)})


def _read_one(path: Path) -> Source:
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise _problem(path, "", f"cannot be read: {exc.strerror}") from exc
    if len(data) > MAX_BYTES:
        raise _problem(path, "", f"{len(data)} bytes; a suite file has at most {MAX_BYTES}")
    try:
        text = data.decode("utf-8-sig")  # editors of other systems begin files with a byte order mark
        document = tomllib.loads(text)
    except UnicodeDecodeError as exc:
        raise _problem(path, "", f"byte {exc.start} is not UTF-8") from exc
    except tomllib.TOMLDecodeError as exc:
        raise _problem(path, "", f"no valid TOML: {exc}") from exc
    except RecursionError as exc:
        raise _problem(path, "", "nested too deeply to be a suite") from exc
    if not document:
        raise _problem(
            path, "", "the file holds no keys: a suite needs topology, paths, matrix, load, rounds"
        )
    return Source(path=path, text=text, document=document, lines=dict(_lines(text)))


def _problem(
    where: Path | str, key: str, found: str, allowed: str = "", meant: str | None = None
) -> SuiteError:
    return SuiteError([Problem(where=str(where), key=key, found=found, allowed=allowed, meant=meant)])


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _parse_override(option: str) -> tuple[Key, Any]:
    name, equals, text = option.partition("=")
    parts = name.strip().split(".")
    matches = [_OVERRIDE_PART.fullmatch(part) for part in parts]
    if not equals or not all(matches):
        raise SuiteError(
            [
                Problem(
                    where=f"-s {option}",
                    key="",
                    found="no override",
                    allowed="key=value, such as rounds=3, load.rate.hz=200 or matrix[0].path=['same-node']",
                )
            ]
        )
    key: list[str | int] = []
    for match in filter(None, matches):
        key += [match[1], *(int(index) for index in re.findall(r"\d+", match[2]))]
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # a bare word: `-s default.path=cross-node`
    return tuple(key), value


def _assign(document: dict[str, Any], key: Key, value: Any, option: str) -> None:
    at: Any = document
    for position, part in enumerate(key[:-1]):
        if isinstance(at, dict) and isinstance(part, str):
            at = at.setdefault(part, {})
        elif isinstance(at, list) and isinstance(part, int) and part < len(at):
            at = at[part]
        else:
            raise _no_place(option, key[: position + 1], at)
    last = key[-1]
    if isinstance(at, dict) and isinstance(last, str):
        # a copy on the way down is not needed: the merged document is this call's own
        at[last] = value
    elif isinstance(at, list) and isinstance(last, int) and last < len(at):
        at[last] = value
    else:
        raise _no_place(option, key, at)


def _no_place(option: str, key: Key, at: object) -> SuiteError:
    found = f"a list of {len(at)}" if isinstance(at, list) else f"no table but {at!r}"
    return SuiteError(
        [Problem(where=f"-s {option}", key=shown(key), found=f"there is no such place: {found} stands there")]
    )


def _lines(text: str) -> Iterator[tuple[Key, int]]:
    """Each key's line. TOML's parser tells none, and an error without one is hard to find in a long file.

    Only what begins a line is found: a header or an assignment; deeper keys fall back to these.
    """
    table: Key = ()
    counts: dict[Key, int] = {}
    quoted = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if quoted:
            quoted = "" if quoted in line else quoted
            continue
        header, assignment = _HEADER.match(line), _ASSIGNMENT.match(line)
        if header:
            table = _indexed(_parts(header[2]), counts, opens=header[1] == "[[")
            yield table, number
        elif assignment:
            yield table + _parts(assignment[1]), number
            for mark in ('"""', "'''"):
                if line.count(mark) % 2:
                    quoted = mark


def _parts(dotted: str) -> Key:
    return tuple(first or second or third for first, second, third in _PART.findall(dotted))


def _indexed(parts: Key, counts: dict[Key, int], *, opens: bool) -> Key:
    """Put the index of the current element after each array of tables on the way."""
    key: Key = ()
    for position, part in enumerate(parts):
        key = (*key, part)
        if opens and position == len(parts) - 1:
            counts[key] = counts.get(key, -1) + 1
        if key in counts:
            key = (*key, counts[key])
    return key
