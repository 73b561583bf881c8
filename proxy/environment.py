"""How ztunnel writes its settings into the environment, and which of them have no effect here."""

from __future__ import annotations

import re
from collections.abc import Mapping

_UNIT_WORDS = {
    "y year": 365 * 86400.0,
    "mon month": 30 * 86400.0,
    "w week": 7 * 86400.0,
    "d day": 86400.0,
    "h hr hour": 3600.0,
    "m min minute": 60.0,
    "s sec second": 1.0,
    "ms msec millisecond": 1e-3,
    "us µs usec µsec usecond µsecond microsecond": 1e-6,
    "ns nsec nanosecond": 1e-9,
}
_UNITS_S = {word: seconds for words, seconds in _UNIT_WORDS.items() for word in words.split()}
_TERM = re.compile(r"(\d+(?:\.\d+)?)([a-zµ]*)", re.ASCII)


def duration_s(value: str) -> float:
    """Read `24h`, `1m30s`, `3m + 31`, `250ms`, `90`: numbers, each with a unit or in seconds, added up.

    Raises:
        ValueError: Anything else, zero included.

    Source: the crate duration-str, without its products; fractions are ours.
    """
    total = 0.0
    for part in value.lower().replace(" ", "").split("+"):
        terms = _TERM.findall(part)
        if not terms or "".join(number + unit for number, unit in terms) != part:
            raise ValueError(f"{value!r} is no duration")
        for number, unit in terms:
            if unit and unit not in _UNITS_S:
                raise ValueError(f"{unit!r} is no unit of time")
            total += float(number) * _UNITS_S.get(unit, 1.0)
    if not 0 < total < float("inf"):
        raise ValueError(f"{value!r} is no length of time")
    return total


class Secret:
    """A text that is in no representation: a config dump or a traceback shows that there is one."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return "(not shown)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)


_HEADER_NAME = re.compile(r"[a-z0-9_.-]+")
_HEADER_VALUE = re.compile(r"[ -~]*")


def header(name: str, value: str) -> tuple[str, Secret]:
    """A header for calls over gRPC.

    Raises:
        ValueError: gRPC could not send it, or keeps its name for itself.
    """
    name = name.lower()
    if not _HEADER_NAME.fullmatch(name) or name.startswith("grpc-") or name.endswith("-bin"):
        raise ValueError(f"{name!r} is no name for a header")
    return name, Secret(header_value(value))


def header_value(value: str) -> str:
    """A text that a header can carry; else ValueError."""
    if not _HEADER_VALUE.fullmatch(value):
        raise ValueError("a header's value is printable ASCII")
    return value


NO_EFFECT: dict[str, str] = {
    "ENABLE_PROXY": "true",
    "NETWORK": "",
    "LOCAL_XDS": "",
    "XDS_ON_DEMAND": "false",
    "XDS_ADDRESS": "",
    "XDS_ROOT_CA": "",
    "ALT_XDS_HOSTNAME": "",
    "FAKE_CA": "false",
    "CRL_PATH": "",
    "ZTUNNEL_WORKER_THREADS": "1",
    "ZTUNNEL_CPU_LIMIT": "1",
    "ZTUNNEL_RESOURCE_CPU_LIMIT": "1",
    "ZTUNNEL_RESOURCE_CPU_REQUEST": "1",
    "PROXY_CONFIG": "",
    "UNSTABLE_ENABLE_SOCKS5": "false",
    "LOCALHOST_APP_TUNNEL": "",
    "AUTHZ_POLICY_INFO_LOGGING": "false",
    "TLS12_ENABLED": "false",
    "COMPLIANCE_POLICY": "",
    "ISTIO_META_DNS_CAPTURE": "false",
    "ISTIO_META_DNS_PROXY_ADDR": "",
}
"""Settings of ztunnel's that nothing here reads, each with the value that says what is done anyway. A pod's
network is its workload's; there is one thread. Left out is what tells istiod who ztunnel is: POD_NAME and the
like, and ISTIO_METAJSON_*.

Source: ztunnel src/config.rs.
"""
_NO_EFFECT_PREFIX = "XDS_HEADER_"


def without_effect(env: Mapping[str, str]) -> list[str]:
    """Names of ztunnel's that are set to something which is not done here."""
    return sorted(name for name, value in env.items() if value and not _as_is(name, value.lower()))


def _as_is(name: str, value: str) -> bool:
    return not name.startswith(_NO_EFFECT_PREFIX) and value == NO_EFFECT.get(name, value)
