"""What every source's document has in common, and how one is opened.

A document is a JSON object `{"schema_version": 1, "source": <name>, ...}`. Reading is strict: a key
that is missing or of another type makes the source unreadable, and its checks unknown. Nothing is
ever taken to be zero because it was not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

SCHEMA_VERSION = 1


class Unreadable(Exception):
    """A source of evidence is missing or is not what it should be; the message says which and where."""

    def __init__(self, source: str, found: str) -> None:
        super().__init__(f"evidence {source}: {found}")
        self.source = source


def new(source: str, **content: object) -> dict[str, Any]:
    """A document of `source` with its heading."""
    return {"schema_version": SCHEMA_VERSION, "source": source, **content}


class Fields:
    """A JSON object with its place in a document, so that each error says where it is."""

    __slots__ = ("_content", "_place", "_source")

    def __init__(self, source: str, content: Mapping[str, Any], place: str = "") -> None:
        self._source = source
        self._content = content
        self._place = place

    @classmethod
    def opened(cls, source: str, documents: Mapping[str, Any]) -> Fields:
        """The document of `source`, its heading checked.

        Raises:
            Unreadable: It is not there, is not an object, or has another heading.
        """
        document = documents.get(source)
        if document is None:
            raise Unreadable(source, "missing")
        if not isinstance(document, Mapping):
            raise Unreadable(source, f"a {type(document).__name__}, expected an object")
        for key, wanted in (("schema_version", SCHEMA_VERSION), ("source", source)):
            if document.get(key) != wanted:
                raise Unreadable(source, f"{key} is {document.get(key)!r}, expected {wanted!r}")
        return cls(source, document)

    def __iter__(self) -> Iterator[str]:
        """The object's keys in their order."""
        return iter(self._content)

    def has(self, key: str) -> bool:
        """Whether the key is there and not null."""
        return self._content.get(key) is not None

    def child(self, key: str) -> Fields:
        """The object under `key`."""
        return Fields(self._source, self._value(key, Mapping, "an object"), self._at(key))

    def children(self, key: str) -> list[Fields]:
        """The objects in the list under `key`."""
        items = self._value(key, list, "a list")
        return [self._item(key, index, item) for index, item in enumerate(items)]

    def integer(self, key: str) -> int:
        """The integer under `key`."""
        value = self._content.get(key)
        if not isinstance(value, int) or isinstance(value, bool):
            raise Unreadable(self._source, f"{self._at(key)} is {value!r}, expected an integer")
        return value

    def number(self, key: str) -> float:
        """The number under `key`."""
        value = self._content.get(key)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise Unreadable(self._source, f"{self._at(key)} is {value!r}, expected a number")
        return value

    def flag(self, key: str) -> bool:
        """True or false under `key`."""
        return bool(self._value(key, bool, "true or false"))

    def text(self, key: str) -> str:
        """The string under `key`."""
        return str(self._value(key, str, "a string"))

    def texts(self, key: str) -> list[str]:
        """The strings in the list under `key`."""
        items = self._value(key, list, "a list")
        if not all(isinstance(item, str) for item in items):
            raise Unreadable(self._source, f"{self._at(key)} is {items!r:.60}, expected strings")
        return list(items)

    def integers(self, key: str) -> list[int]:
        """The integers in the list under `key`."""
        items = self._value(key, list, "a list")
        if not all(isinstance(item, int) and not isinstance(item, bool) for item in items):
            raise Unreadable(self._source, f"{self._at(key)} is {items!r:.60}, expected integers")
        return list(items)

    def counts(self) -> dict[str, int]:
        """The object as name -> integer; every value has to be one."""
        return {key: self.integer(key) for key in self._content}

    def _item(self, key: str, index: int, item: object) -> Fields:
        place = f"{self._at(key)}[{index}]"
        if not isinstance(item, Mapping):
            raise Unreadable(self._source, f"{place} is a {type(item).__name__}, expected an object")
        return Fields(self._source, item, place)

    def _value(self, key: str, kind: type, wanted: str) -> Any:
        value = self._content.get(key)
        if not isinstance(value, kind):
            raise Unreadable(self._source, f"{self._at(key)} is {value!r:.60}, expected {wanted}")
        return value

    def _at(self, key: str) -> str:
        return f"{self._place}.{key}" if self._place else key
