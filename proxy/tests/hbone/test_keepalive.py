"""PING every 10 s, dead after 20 s without an answer; the clock is a number."""

from proxy.hbone.keepalive import Action, Keepalive


def test_pings_every_interval_while_answered() -> None:
    keepalive = Keepalive(100.0)
    assert keepalive.due(109.9) == Action.NOTHING
    for at in (110.0, 120.0, 130.0):
        assert keepalive.due(at - 0.1) == Action.NOTHING
        assert keepalive.due(at) == Action.PING
        assert keepalive.due(at + 0.1) == Action.NOTHING
        keepalive.answered()


def test_gives_up_on_silence() -> None:
    keepalive = Keepalive(0.0)
    assert keepalive.due(10.0) == Action.PING
    assert keepalive.due(29.9) == Action.NOTHING
    assert keepalive.due(30.0) == Action.GIVE_UP
