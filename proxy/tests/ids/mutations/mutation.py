"""One guard, and how to take it away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """`apply` patches the product in this process, for good: each mutation has a process of its own."""

    id: str
    """Whose tests have to notice."""
    guard: str
    """What is switched off; with the id, its name."""
    apply: Callable[[], None]

    @property
    def name(self) -> str:
        """`T03 bytes of a header block`."""
        return f"{self.id} {self.guard}"


def wrap(owner: Any, name: str, around: Callable[..., Any]) -> None:
    """Replace a method by one that is called as `around(original, self, ...)`.

    Raises:
        AttributeError: There is no such method: the mutation has to follow the code.
    """
    original = getattr(owner, name)

    def changed(*args: Any, **kwargs: Any) -> Any:
        return around(original, *args, **kwargs)

    setattr(owner, name, changed)


def silence(owner: Any, name: str) -> None:
    """Let a method do nothing.

    Raises:
        AttributeError: As for `wrap`.
    """
    wrap(owner, name, lambda *_args, **_kwargs: None)
