"""The proxy's settings: one typed value, read from the environment.

Names are ztunnel's where the thing is the same, and begin with PYZTUNNEL_ where it is ours.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self, TypeVar

from proxy.environment import Secret, duration_s, header, header_value
from proxy.identity.spiffe import is_trust_domain

PREFIX = "PYZTUNNEL_"


class Reuse(StrEnum):
    """Whether a connection may use a tunnel that exists."""

    ON = "on"
    OFF = "off"
    OFF_SERIALISED = "off-serialised"
    """As ztunnel with POOL_MAX_STREAMS_PER_CONNECTION=1: a tunnel each, opened one after another."""


class Mode(StrEnum):
    """How connections reach the proxy."""

    SHARED = "shared"
    """Captured in every pod of a node, whose agent hands the pods over; ztunnel's word."""
    EXPLICIT = "explicit"
    """Over SOCKS5, for the one workload that it stands for: no capture, no root, no Linux."""


class SameNode(StrEnum):
    """What carries traffic between pods of one node."""

    HBONE = "hbone"
    PLAINTEXT = "plaintext"


class Relay(StrEnum):
    """What moves the bytes of plaintext connections."""

    COPY = "copy"
    """Through a buffer of this process: 7 us less for a connection's first byte."""
    SPLICE = "splice"
    """Through pipes in the kernel: Linux; a tenth more throughput, four descriptors more a connection."""


class LogFormat(StrEnum):
    """How log lines are written."""

    PLAIN = "plain"
    JSON = "json"


class Loop(StrEnum):
    """Which event loop runs; `auto` takes uvloop where it is installed."""

    AUTO = "auto"
    ASYNCIO = "asyncio"
    UVLOOP = "uvloop"


class InvalidSetting(ValueError):
    """An environment variable has a value that cannot be used; the message names it."""


@dataclass(frozen=True, slots=True)
class _Variable:
    name: str
    parse: Callable[[str], Any]
    expects: str
    what: str


T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)


def _text(value: str) -> str:
    return value


def _path(value: str) -> Path | None:
    return Path(value) if value else None


def _token(value: str) -> Path | Secret:
    """A file's path; or, as for ztunnel where there is no such file, the token itself: a JWT has no slash."""
    path = Path(value)
    return path if "/" in value or path.exists() else Secret(value)


def _header(line: str) -> tuple[tuple[str, Secret], ...]:
    name, _, value = line.partition("=")
    return (header(name, value),)


def _ca_address(value: str) -> str:
    """As ztunnel, https where no scheme is given."""
    return value if "://" in value else f"https://{value}"


def _trust_domains(value: str) -> tuple[str, ...]:
    domains = tuple(part.strip() for part in value.split(","))
    if not all(map(is_trust_domain, domains)):
        raise ValueError
    return domains


def _workload(value: str) -> tuple[str, str, str]:
    namespace, name, service_account = value.split("/")
    if not (namespace and name and service_account):
        raise ValueError
    return namespace, name, service_account


def _socket_address(value: str) -> tuple[str, int]:
    host, separator, port = value.rpartition(":")
    if not separator:
        raise ValueError
    return str(ip_address(host.removeprefix("[").removesuffix("]"))), _count(0, 65535)(port)


def _flag(value: str) -> bool:
    words = {"true": True, "1": True, "false": False, "0": False}
    return words[value.lower()]


def _count(low: int, high: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        number = int(value, 0)
        if not low <= number <= high:
            raise ValueError
        return number

    return parse


def _port(value: str) -> int | None:
    return None if value == "off" else _count(1, 65535)(value)


def _word(kind: type[E]) -> Callable[[str], E]:
    return kind


_LEVELS = {"error": logging.ERROR, "warn": logging.WARNING, "info": logging.INFO, "debug": logging.DEBUG}
_LEVELS |= {"trace": logging.DEBUG, "off": logging.CRITICAL + 1}


def log_levels(value: str) -> tuple[tuple[str, int], ...]:
    """Read RUST_LOG: `info`, `warn,access=info,proxy.pool=debug`. The bare level has the empty name."""
    levels: dict[str, int] = {}
    for part in value.split(","):
        name, separator, level = part.strip().rpartition("=")
        if separator and not name:
            raise ValueError
        levels[_scope(name)] = _LEVELS[level.lower()]
    return tuple(levels.items())


def _scope(name: str) -> str:
    """A logger's name: ztunnel's modules are taken for those of ours that have the same name."""
    first, *rest = name.split("::")
    if first != "ztunnel":
        return name
    return ".".join(("proxy", *rest[: 0 if rest[:1] == ["proxy"] else 1]))


def _setting(default: Any, name: str, parse: Callable[[str], T], expects: str, what: str) -> T:
    value: T = field(default=default, metadata={"variable": _Variable(name, parse, expects, what)})
    return value


_DURATION_TEXT = "a duration such as 250ms, 10s, 1m30s, 24h"
_FLAG_TEXT = "true or false"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What can be set. Durations are seconds; each default is ztunnel's unless its line says otherwise."""

    # who and where
    mode: Mode = _setting(Mode.SHARED, "PROXY_MODE", _word(Mode), "shared or explicit", "how it is reached")
    workload: tuple[str, str, str] | None = _setting(
        None,
        "PROXY_WORKLOAD_INFO",
        _workload,
        "namespace/name/service-account",
        "explicit: the workload that it stands for",
    )
    socks_listen: tuple[str, int] = _setting(
        ("127.0.0.1", 15080),
        PREFIX + "SOCKS_LISTEN",
        _socket_address,
        "ADDRESS:PORT",
        "explicit: where SOCKS5 is spoken; all who reach it are the workload",
    )
    socks_connections: int = _setting(
        1024, PREFIX + "SOCKS_CONNECTIONS", _count(1, 1 << 20), "1 to 1048576", "explicit: most at a time"
    )

    node: str = _setting("", "NODE_NAME", _text, "a name", "node that this proxy serves")
    cluster: str = _setting(
        "Kubernetes",
        "CLUSTER_ID",
        header_value,
        "printable ASCII",
        "cluster of this node, told to the CA; ISTIO_META_CLUSTER_ID goes before",
    )
    trust_domain: str = _setting("cluster.local", "TRUST_DOMAIN", _text, "a name", "trust domain")
    trust_domains: tuple[str, ...] = _setting(
        (),
        "TRUST_DOMAINS",
        _trust_domains,
        "trust domains, with commas between them",
        "aliases of TRUST_DOMAIN: who is of one of them is taken for the same, as a client and as a server",
    )
    cluster_domain: str = _setting(
        "cluster.local", "CLUSTER_DOMAIN", _text, "a domain", "explicit: completes short names of services"
    )
    preferred_service_namespace: str = _setting(
        "",
        "PREFERED_SERVICE_NAMESPACE",
        _text,
        "a namespace",
        "explicit: preferred where services share a name",
    )

    # what it is told
    mesh_document: Path | None = _setting(
        None, "LOCAL_XDS_PATH", _path, "a path", "mesh document (JSON); watched for changes"
    )
    mesh_poll_s: float = _setting(
        0.25, PREFIX + "MESH_POLL", duration_s, _DURATION_TEXT, "how often the mesh document is looked at"
    )
    zds_socket: Path | None = _setting(
        Path("/var/run/ztunnel/ztunnel.sock"), "INPOD_UDS", _path, "a path", "the node agent's ZDS socket"
    )
    ca_address: str = _setting(
        "", "CA_ADDRESS", _ca_address, "unix:///path or https://host:port", "certificate authority"
    )
    ca_root: Path | None = _setting(
        Path("./var/run/secrets/istio/root-cert.pem"), "CA_ROOT_CA", _path, "a path", "roots for an https CA"
    )
    ca_hostname: str = _setting("", "ALT_CA_HOSTNAME", _text, "a host name", "name expected of an https CA")
    ca_token: Path | Secret | None = _setting(
        Path("./var/run/secrets/tokens/istio-token"),
        "AUTH_TOKEN",
        _token,
        "a path, or the token itself",
        "bearer token for the CA; read anew for each call, none where there is no file",
    )
    ca_headers: tuple[tuple[str, Secret], ...] = _setting(
        (), "CA_HEADER_*", _header, "printable ASCII", "further headers of calls to the CA, by name"
    )
    certificate_ttl_s: float = _setting(
        86400.0, "SECRET_TTL", duration_s, _DURATION_TEXT, "life of certificates asked for"
    )

    # sockets
    packet_mark: int = _setting(
        0x539, "PACKET_MARK", _count(1, 0xFFFFFFFF), "1 to 0xffffffff", "mark of the proxy's own packets"
    )
    ipv6: bool = _setting(True, "IPV6_ENABLED", _flag, _FLAG_TEXT, "whether to listen on IPv6")
    port_reuse: bool = _setting(True, "INPOD_PORT_REUSE", _flag, _FLAG_TEXT, "SO_REUSEPORT on listeners")
    original_source: bool = _setting(
        True, "ENABLE_ORIG_SRC", _flag, _FLAG_TEXT, "whether apps see the client's own address"
    )
    keepalive: bool = _setting(True, "KEEPALIVE_ENABLED", _flag, _FLAG_TEXT, "TCP keep-alive")
    keepalive_idle_s: float = _setting(180.0, "KEEPALIVE_TIME", duration_s, _DURATION_TEXT, "idle before it")
    keepalive_interval_s: float = _setting(
        180.0, "KEEPALIVE_INTERVAL", duration_s, _DURATION_TEXT, "between its probes"
    )
    keepalive_probes: int = _setting(9, "KEEPALIVE_RETRIES", _count(1, 127), "1 to 127", "its probes")
    user_timeout: bool = _setting(
        False, "USER_TIMEOUT_ENABLED", _flag, _FLAG_TEXT, "TCP_USER_TIMEOUT of the keep-alive's length"
    )

    # tunnels
    max_streams: int = _setting(
        100, "POOL_MAX_STREAMS_PER_CONNECTION", _count(1, 2**31 - 1), "1 to 2147483647", "streams per tunnel"
    )
    tunnel_idle_s: float = _setting(
        300.0, "POOL_UNUSED_RELEASE_TIMEOUT", duration_s, _DURATION_TEXT, "life of an unused tunnel"
    )
    stream_window_bytes: int = _setting(
        4 << 20, "HTTP2_STREAM_WINDOW_SIZE", _count(65535, 2**31 - 1), "65535 to 2147483647", "stream window"
    )
    connection_window_bytes: int = _setting(
        16 << 20,
        "HTTP2_CONNECTION_WINDOW_SIZE",
        _count(65535, 2**31 - 1),
        "65535 to 2147483647",
        "connection window",
    )
    frame_bytes: int = _setting(
        1 << 20, "HTTP2_FRAME_SIZE", _count(16384, 2**24 - 1), "16384 to 16777215", "largest frame taken"
    )
    response_baggage: bool = _setting(
        True, "ENABLE_RESPONSE_BAGGAGE", _flag, _FLAG_TEXT, "whether 200 carries the destination's baggage"
    )
    reuse: Reuse = _setting(
        Reuse.ON, PREFIX + "REUSE", _word(Reuse), "on, off or off-serialised", "tunnel reuse"
    )
    same_node: SameNode = _setting(
        SameNode.HBONE,
        PREFIX + "SAME_NODE",
        _word(SameNode),
        "hbone or plaintext",
        "between pods of this node",
    )

    # limits
    max_connections: int = _setting(
        0,
        PREFIX + "MAX_CONNECTIONS",
        _count(0, 2**31),
        "0 to 2147483648",
        "connections at once, streams of tunnels among them; 0: what the limit of open files allows",
    )
    max_connections_per_source: int = _setting(
        0,
        PREFIX + "MAX_CONNECTIONS_PER_SOURCE",
        _count(0, 2**31),
        "0 to 2147483648",
        "of them, from one address; 0: half",
    )

    relay: Relay = _setting(
        Relay.COPY, PREFIX + "RELAY", _word(Relay), "copy or splice", "engine for plaintext connections"
    )

    # time limits; ztunnel has the first, the PING's and the wait, and no limit on the rest
    connect_timeout_s: float = _setting(
        10.0, PREFIX + "CONNECT_TIMEOUT", duration_s, _DURATION_TEXT, "TCP connect"
    )
    handshake_timeout_s: float = _setting(
        5.0,
        PREFIX + "HANDSHAKE_TIMEOUT",
        duration_s,
        _DURATION_TEXT,
        "TLS, preface, headers and SETTINGS, each",
    )
    answer_timeout_s: float = _setting(
        15.0,
        PREFIX + "ANSWER_TIMEOUT",
        duration_s,
        _DURATION_TEXT,
        "from CONNECT to its answer: longer than the far side's own TCP connect may take",
    )
    ping_interval_s: float = _setting(
        10.0, PREFIX + "PING_INTERVAL", duration_s, _DURATION_TEXT, "between PINGs on a tunnel"
    )
    ping_timeout_s: float = _setting(
        20.0, PREFIX + "PING_TIMEOUT", duration_s, _DURATION_TEXT, "until a tunnel without answer is dead"
    )
    readiness_wait_s: float = _setting(
        5.0, PREFIX + "READINESS_WAIT", duration_s, _DURATION_TEXT, "how long a connection waits for state"
    )
    drain_deadline_s: float = _setting(
        5.0,
        "CONNECTION_TERMINATION_DEADLINE",
        duration_s,
        _DURATION_TEXT,
        "for live connections at the end; unset, by TERMINATION_GRACE_PERIOD_SECONDS less 5 s, or 1 of 10 s",
    )

    # operations
    admin_port: int | None = _setting(
        15000, PREFIX + "ADMIN_PORT", _port, "a port, or off", "admin, on localhost"
    )
    stats_port: int | None = _setting(15020, PREFIX + "STATS_PORT", _port, "a port, or off", "metrics")
    readiness_port: int | None = _setting(
        15021, PREFIX + "READINESS_PORT", _port, "a port, or off", "readiness"
    )
    control_socket: Path | None = _setting(
        None, PREFIX + "CONTROL_SOCKET", _path, "a path", "control socket; off unless set"
    )
    bench_socket: Path | None = _setting(
        None, PREFIX + "BENCH_SOCKET", _path, "a path", "bench socket (drops tunnels); off unless set"
    )
    log_format: LogFormat = _setting(
        LogFormat.PLAIN, "LOG_FORMAT", _word(LogFormat), "plain or json", "log lines"
    )
    log_levels: tuple[tuple[str, int], ...] = _setting(
        (("", logging.INFO),), "RUST_LOG", log_levels, "levels such as info or warn,access=info", "log levels"
    )
    loop: Loop = _setting(Loop.AUTO, PREFIX + "LOOP", _word(Loop), "auto, asyncio or uvloop", "event loop")
    seed: int | None = _setting(
        None, PREFIX + "SEED", _count(0, 2**63 - 1), "a number", "seed of the choice among endpoints"
    )

    def __post_init__(self) -> None:
        if self.connection_window_bytes < 2 * self.stream_window_bytes:
            # Equal windows let one stalled stream take the whole connection: ztunnel issue 1538.
            raise InvalidSetting(
                f"HTTP2_CONNECTION_WINDOW_SIZE={self.connection_window_bytes}: expected at least twice "
                f"HTTP2_STREAM_WINDOW_SIZE ({self.stream_window_bytes}), or one stream could stall the rest"
            )
        if self.relay is Relay.SPLICE and not hasattr(os, "splice"):
            raise InvalidSetting("PYZTUNNEL_RELAY=splice: this platform has no splice; expected copy")
        if self.mode is Mode.EXPLICIT and self.same_node is SameNode.PLAINTEXT:
            raise InvalidSetting(
                "PYZTUNNEL_SAME_NODE=plaintext with PROXY_MODE=explicit: expected hbone, as no pod is "
                "served here whose policies could be applied"
            )
        if self.mode is Mode.EXPLICIT and self.workload is None:
            raise InvalidSetting(
                "PROXY_WORKLOAD_INFO is not set: expected namespace/name/service-account, "
                "as PROXY_MODE=explicit stands for one workload"
            )
        if not (self.ca_address == "" or self.ca_address.startswith(("unix:///", "https://"))):
            raise InvalidSetting(
                f"CA_ADDRESS={self.ca_address!r}: expected unix:///path or https://host:port"
            )

    @property
    def trust_domain_aliases(self) -> frozenset[str]:
        """All names of the trust domain, where it has several; empty where it has one."""
        return frozenset((self.trust_domain, *self.trust_domains)) if self.trust_domains else frozenset()

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read the environment; what is absent or empty keeps its default.

        Raises:
            InvalidSetting: A value cannot be used, or a PYZTUNNEL_ variable is unknown. Names the variable.
        """
        known = variables()
        unknown = sorted(name for name in env if name.startswith(PREFIX) and name not in known)
        if unknown:
            ours = ", ".join(name for name in known if name.startswith(PREFIX))
            raise InvalidSetting(f"{unknown[0]}: no such setting; known: {ours}")
        if env.get("ISTIO_META_CLUSTER_ID"):  # ztunnel's first choice
            env = {**env, "CLUSTER_ID": env["ISTIO_META_CLUSTER_ID"]}
        values: dict[str, Any] = {}
        for item in fields(cls):
            variable: _Variable = item.metadata["variable"]
            if variable.name.endswith("*"):
                values[item.name] = _prefixed(env, variable)
                continue
            raw = env.get(variable.name, "")
            if not raw:
                continue
            try:
                values[item.name] = variable.parse(raw)
            except (ValueError, KeyError) as exc:
                raise InvalidSetting(f"{variable.name}={raw!r}: expected {variable.expects}") from exc
        if "drain_deadline_s" not in values and env.get("TERMINATION_GRACE_PERIOD_SECONDS"):
            values["drain_deadline_s"] = _drain_from_grace(env["TERMINATION_GRACE_PERIOD_SECONDS"])
        return cls(**values)


def _prefixed(env: Mapping[str, str], variable: _Variable) -> tuple[Any, ...]:
    """What all variables of a prefix say together. Their values may be secrets, so no error shows one."""
    prefix = variable.name.removesuffix("*")
    found: tuple[Any, ...] = ()
    for name in sorted(name for name in env if name.startswith(prefix)):
        try:
            found += variable.parse(f"{name.removeprefix(prefix)}={env[name]}")
        except ValueError as exc:
            raise InvalidSetting(f"{name}: expected {variable.expects}, for a header of that name") from exc
    return found


def _drain_from_grace(raw: str) -> float:
    """Less than Kubernetes gives, so that the end is ours and not SIGKILL's: ztunnel's share of it."""
    try:
        grace_s = _count(1, 86400)(raw)
        return float(grace_s - 5 if grace_s > 10 else max(grace_s - 1, 1))
    except ValueError as exc:
        raise InvalidSetting(f"TERMINATION_GRACE_PERIOD_SECONDS={raw!r}: expected 1 to 86400") from exc


def variables() -> dict[str, str]:
    """Every environment variable that is read -> what it is, with its default; in the settings' order."""
    described = {}
    for item in fields(Settings):
        variable: _Variable = item.metadata["variable"]
        default = "" if item.default in {None, "", ()} else f" [{_written(item.default)}]"
        described[variable.name] = f"{variable.what} ({variable.expects}){default}"
    return described


def _written(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}s"
        case (str(host), int(port)):
            return f"{host}:{port}"
        case tuple():
            return "info"
        case _:
            return str(value)
