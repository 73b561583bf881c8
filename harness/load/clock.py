"""Sleeping until an instant of CLOCK_MONOTONIC.

The interpreter's and gevent's own means are coarse: measured here, a 2 ms `gevent.sleep` overshot by
0.6 ms at the median (libev counts in milliseconds), a timerfd by 0.06 ms.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterable
from contextlib import suppress

PR_SET_TIMERSLACK = 29
"""include/uapi/linux/prctl.h; the default slack is 50 us."""
TFD_NONBLOCK = os.O_NONBLOCK
TFD_CLOEXEC = os.O_CLOEXEC
TFD_TIMER_ABSTIME = 1
"""include/uapi/linux/timerfd.h."""

NS_PER_S = 1_000_000_000

_libc = ctypes.CDLL(None, use_errno=True)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


def tighten() -> None:
    """Let this thread's sleeps end when they should, not up to 50 us later."""
    _check("prctl(PR_SET_TIMERSLACK)", _libc.prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0))


def sleep_until(instant_ns: int) -> None:
    """Block this thread until the instant; return at once when it has passed."""
    remaining_ns = instant_ns - time.monotonic_ns()
    if remaining_ns > 0:
        time.sleep(remaining_ns / NS_PER_S)


def quantile_99(values: Iterable[int]) -> int | None:
    """What 99 of 100 values stay at or below; None of no value."""
    ordered = sorted(values)
    return ordered[-(-99 * len(ordered) // 100) - 1] if ordered else None


class Timer:
    """A descriptor that becomes readable at an instant; `os.timerfd_create` came only with Python 3.13."""

    def __init__(self) -> None:
        self.fd: int = _check(
            "timerfd_create", _libc.timerfd_create(time.CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
        )
        self._spec = _Itimerspec()

    def arm(self, instant_ns: int) -> None:
        """Become readable at the instant, once; what was armed before is forgotten."""
        value = self._spec.value
        value.seconds, value.nanoseconds = divmod(instant_ns, NS_PER_S)
        _check(
            "timerfd_settime",
            _libc.timerfd_settime(self.fd, TFD_TIMER_ABSTIME, ctypes.byref(self._spec), None),
        )

    def clear(self) -> None:
        """Be no longer readable."""
        with suppress(BlockingIOError):
            os.read(self.fd, 8)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)


def _check(call: str, result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
    return result
