"""How a relay ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class End(StrEnum):
    """Who ended it, and how."""

    CLEAN = "clean"
    """Both sides ended their direction."""
    NEAR_RESET = "near-reset"
    """The app's socket that this relay was given failed or was reset."""
    FAR_RESET = "far-reset"
    """The other side, a socket or a stream, failed or was reset."""
    CUT = "cut"
    """We ended it: policy, drain, shutdown."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a relay."""

    end: End
    detail: str | None = None
    """What was reported, None for a clean end."""
