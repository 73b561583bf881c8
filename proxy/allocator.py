"""The C library's allocator, told to give back what a burst needed.

glibc raises its threshold for mapping a block of its own each time such a block is freed, up to 32 MiB; from
then on buffers come from the heap, and the small things that outlive them keep it from ever shrinking. A
threshold that is set stays. Seen after a thousand connections of all kinds had ended: 2 MB of the heap free
in place of 13, and the same from one such load to the next.
"""

from __future__ import annotations

import ctypes
import os
from typing import Final

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8
"""Parameters of mallopt(3). Source: malloc.h of glibc."""

_SETTINGS: Final = (
    (_MMAP_THRESHOLD, 128 * 1024),  # glibc's own to begin with
    (_TRIM_THRESHOLD, 128 * 1024),
    (_ARENA_MAX, 1),  # the interpreter's lock lets one thread allocate at a time
)


def give_back() -> bool:
    """Set it for this process, before its work begins.

    Returns:
        Whether the C library took it; only glibc has these settings.
    """
    if os.name != "posix":
        return False  # and no library of that name, either
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(parameter, value) == 1 for parameter, value in _SETTINGS)
