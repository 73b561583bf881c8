"""Ctrl-C once, and again."""

import os
import signal

import pytest

from harness.run.interrupts import Interrupted, interrupts


def test_first_signal_raises_and_later_ones_only_hasten() -> None:
    """F60."""
    with interrupts() as asked:
        with pytest.raises(Interrupted) as raised:
            os.kill(os.getpid(), signal.SIGINT)
        assert not asked.hastened

        os.kill(os.getpid(), signal.SIGINT)

        assert asked.hastened
        assert raised.value.exit_code == 130


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_exit_code_names_the_signal(number: signal.Signals, code: int) -> None:
    """F61."""
    with interrupts(), pytest.raises(Interrupted) as raised:
        os.kill(os.getpid(), number)

    assert raised.value.exit_code == code


def test_former_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGINT)

    with interrupts():
        pass

    assert signal.getsignal(signal.SIGINT) is before
