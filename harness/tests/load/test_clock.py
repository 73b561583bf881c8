import select
import time

from harness.load.clock import Timer, sleep_until, tighten


def readable(timer: Timer, within_s: float) -> bool:
    return bool(select.select([timer.fd], [], [], within_s)[0])


def test_a_timer_becomes_readable_at_its_instant_and_not_before() -> None:
    timer = Timer()
    instant_ns = time.monotonic_ns() + 5_000_000
    timer.arm(instant_ns)

    assert readable(timer, 5)
    assert time.monotonic_ns() >= instant_ns
    timer.close()


def test_a_timer_armed_for_the_past_is_readable_at_once() -> None:
    timer = Timer()
    timer.arm(time.monotonic_ns() - 1)

    assert readable(timer, 0.5)
    timer.close()


def test_a_cleared_timer_is_quiet_until_armed_again() -> None:
    timer = Timer()
    timer.arm(1)
    assert readable(timer, 0.5)

    timer.clear()
    timer.clear()

    assert not readable(timer, 0)
    timer.arm(1)
    assert readable(timer, 0.5)
    timer.close()


def test_arming_forgets_what_was_armed_before() -> None:
    timer = Timer()
    timer.arm(1)
    timer.arm(time.monotonic_ns() + 3_600_000_000_000)

    assert not readable(timer, 0)
    timer.close()


def test_sleep_until_never_ends_early() -> None:
    tighten()
    for _ in range(20):
        instant_ns = time.monotonic_ns() + 300_000
        sleep_until(instant_ns)

        assert time.monotonic_ns() >= instant_ns


def test_sleep_until_the_past_does_nothing() -> None:
    sleep_until(0)
