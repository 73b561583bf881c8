"""ztunnel's environment: how it writes durations, and what of it has no effect here."""

from __future__ import annotations

import pytest

from proxy.config import variables
from proxy.environment import NO_EFFECT, duration_s, without_effect


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10ms", 0.01),
        ("1m30s", 90.0),
        ("24h", 86400.0),
        ("1.5s", 1.5),
        ("1d", 86400.0),
        ("90", 90.0),
        ("3m+31", 211.0),
        ("3m + 31s", 211.0),
        ("1h 30m", 5400.0),
        ("2Hour", 7200.0),
        ("1MIN", 60.0),
        ("7us", 7e-6),
        ("7\u00b5s", 7e-6),
        ("2w", 1209600.0),
        ("1mon", 2592000.0),
    ],
)
def test_durations(text: str, expected: float) -> None:
    assert duration_s(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    "text", ["", "s", "0s", "-1s", "1x", "+1s", "1s+", "1..5s", "1e3s", "9" * 400 + "y", "\u0663s"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        duration_s(text)


def test_settings_of_ztunnels_without_effect_are_named() -> None:
    """P30: unless they say what is done anyway, or nothing."""
    env = {
        "ZTUNNEL_WORKER_THREADS": "4",
        "XDS_ADDRESS": "https://istiod:15012",
        "XDS_HEADER_X": "y",
        "NETWORK": "",
        "TLS12_ENABLED": "False",
        "ENABLE_PROXY": "false",
        "POD_NAME": "ztunnel-x",
        "HOME": "/root",
    }

    assert without_effect(env) == ["ENABLE_PROXY", "XDS_ADDRESS", "XDS_HEADER_X", "ZTUNNEL_WORKER_THREADS"]
    assert without_effect(NO_EFFECT) == []


def test_no_name_both_has_an_effect_and_has_none() -> None:
    assert set(NO_EFFECT) & set(variables()) == set()
