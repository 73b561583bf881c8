"""What is wrong with a suite: file, line, key, what was found, what is allowed, what was probably meant."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from harness.errors import UsageError

Key = tuple[str | int, ...]
"""Where in the document: `("matrix", 0, "path", 1)` is shown as `matrix[0].path[1]`."""


def shown(key: Key) -> str:
    """The key as users write it."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def nearest(word: object, known: Iterable[str]) -> str | None:
    """The known word that was probably meant, if one is near."""
    matches = difflib.get_close_matches(str(word), sorted(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong."""

    where: str
    """`suites/quick.toml:31`, or the `-s` option that brought it."""
    key: str
    found: str
    allowed: str = ""
    meant: str | None = None

    def __str__(self) -> str:
        text = f"{self.where}: {self.key}: {self.found}" if self.key else f"{self.where}: {self.found}"
        if self.meant is not None:
            text += f"; did you mean {self.meant!r}?"
        if self.allowed:
            text += f" (allowed: {self.allowed})"
        return text


class SuiteError(UsageError):
    """The suite cannot be used as written; the message lists every problem that was found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def from_validation(
    error: ValidationError, schema: Mapping[str, Any], where: Callable[[Key], str], document: object
) -> SuiteError:
    """Turn pydantic's findings into ours.

    Args:
        error: What validation said.
        schema: JSON Schema of the same model: it knows the allowed keys, words and ranges.
        where: Says in which file and line a key stands.
        document: What was validated.
    """
    problems: dict[str, Problem] = {}
    items = [(item, _existing(item["loc"], document)) for item in error.errors(include_url=False)]
    values = [key for item, key in items if item["type"] not in {"missing", "extra_forbidden"}]
    for item, key in items:
        of_a_union = len(item["loc"]) > len(key) + 1
        if item["type"] == "missing" and of_a_union and any(each[: len(key)] == key for each in values):
            continue  # the member that was meant is told about; what others want is beside the point
        node = _node(schema, key)
        found, allowed, meant = _words(item, schema, node, key)
        place = (*key, str(item["loc"][-1])) if item["type"] == "missing" else key
        problem = Problem(where=where(place), key=shown(place), found=found, allowed=allowed, meant=meant)
        problems.setdefault(problem.key, problem)  # a union reports one key once per member
    # a misspelt key is not missing besides
    spelt = {shown((*_parent(each.key), each.meant)) for each in problems.values() if each.meant}
    return SuiteError([each for key, each in problems.items() if each.found != "missing" or key not in spelt])


def _parent(key: str) -> Key:
    head, dot, _ = key.rpartition(".")
    return (head,) if dot else ()


def _existing(loc: Sequence[str | int], document: object) -> Key:
    """The part of pydantic's location that exists in the document; the rest names union members."""
    key: list[str | int] = []
    at: Any = document
    for part in loc:
        in_table = isinstance(at, dict) and part in at
        if in_table or (isinstance(at, list) and isinstance(part, int) and part < len(at)):
            at = at[part]
            key.append(part)
    return tuple(key)


def _words(
    item: Any, schema: Mapping[str, Any], node: Mapping[str, Any], key: Key
) -> tuple[str, str, str | None]:
    """What was found, what is allowed, what was meant."""
    kind = item["type"]
    if kind == "extra_forbidden":
        known = _properties(schema, _node(schema, key[:-1]))
        return "unknown key", ", ".join(known), nearest(key[-1], known)
    if kind == "missing":
        return "missing", _described(schema, _child(schema, node, str(item["loc"][-1]))), None
    found = item["input"]
    text = f"found {json.dumps(found, default=str)} ({_type_of(found)})"
    if len(text) > 100:
        text = text[:96] + " ..."
    if item["loc"] and item["loc"][-1] == "[key]":
        names = _resolve(schema, _node(schema, key[:-1]).get("propertyNames", {}))
        allowed = str(names.get("description", "")) if "enum" not in names else _described(schema, names)
        text = f"found the name {json.dumps(item['input'])}"
        return text, allowed, nearest(found, _enum(schema, names))
    return text, _described(schema, node), nearest(found, _enum(schema, node))


def _type_of(value: object) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "list", dict: "table"}
    return names.get(type(value), type(value).__name__)


def _resolve(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in node:
        name = node["$ref"].rsplit("/", 1)[-1]
        node = {**schema["$defs"][name], **{key: value for key, value in node.items() if key != "$ref"}}
    return node


def _node(schema: Mapping[str, Any], key: Key) -> Mapping[str, Any]:
    """The schema of what stands at a key; empty where the schema knows nothing of it."""
    node = _resolve(schema, schema)
    for part in key:
        node = _child(schema, node, part)
    return node


def _child(schema: Mapping[str, Any], node: Mapping[str, Any], part: str | int) -> Mapping[str, Any]:
    for option in [node, *(_resolve(schema, each) for each in node.get("anyOf", []))]:
        if isinstance(part, int) and "items" in option:
            return _resolve(schema, option["items"])
        if part in option.get("properties", {}):
            return _resolve(schema, option["properties"][part])
        for values in (option.get("additionalProperties"), *option.get("patternProperties", {}).values()):
            if isinstance(values, dict):
                return _resolve(schema, values)
    return {}


def _properties(schema: Mapping[str, Any], node: Mapping[str, Any]) -> list[str]:
    options = [node, *(_resolve(schema, each) for each in node.get("anyOf", []))]
    return sorted({name for option in options for name in option.get("properties", {})})


def _enum(schema: Mapping[str, Any], node: Mapping[str, Any]) -> list[str]:
    options = [node, *(_resolve(schema, each) for each in node.get("anyOf", []))]
    return [str(word) for option in options for word in option.get("enum", [])]


def _described(schema: Mapping[str, Any], node: Mapping[str, Any]) -> str:
    """What a schema node allows, in words."""
    if "anyOf" in node:
        options = [_described(schema, _resolve(schema, each)) for each in node["anyOf"]]
        return " or ".join(dict.fromkeys(filter(None, options)))
    if "enum" in node or "const" in node:
        return ", ".join(str(word) for word in node.get("enum", [node.get("const")]))
    kind = str(node.get("type", ""))
    if kind == "array":
        return f"list of {_described(schema, _resolve(schema, node.get('items', {}))) or 'values'}"
    if kind == "object":
        return ", ".join(["table", *_properties(schema, node)]).replace(",", " with", 1)
    if kind == "string":
        return _described_string(node)
    return _described_number(kind, node) if kind in {"integer", "number"} else kind.replace("null", "")


def _described_string(node: Mapping[str, Any]) -> str:
    if node.get("format") == "ipv4network":
        return "IPv4 network such as 10.244.0.0/16, no host bits set"
    if node.get("format") == "ipv6network":
        return "IPv6 network such as fd00:10:244::/56, no host bits set"
    return str(node.get("description", f"string like {node['pattern']}")) if "pattern" in node else "string"


def _described_number(kind: str, node: Mapping[str, Any]) -> str:
    if "exclusiveMinimum" in node:
        return f"{kind}, more than {node['exclusiveMinimum']}, at most {node['maximum']}"
    return f"{kind}, {node['minimum']} to {node['maximum']}" if "maximum" in node else kind
