"""The suite file's shape, as written. Its JSON Schema gives editors completion and checks."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, create_model

from harness.plan import scenarios
from harness.plan.model import (
    STREAMS_PER_TUNNEL,
    WINDOW_KIB,
    Arrivals,
    Interception,
    Path,
    Reuse,
    SameNode,
)
from harness.topology.model import IpFamily

Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=32, pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"),
    Field(description="1 to 32 of a-z, 0-9 and '-', a letter or digit at both ends"),
]
Seconds = Annotated[float, Field(ge=0, le=3600)]
Milliseconds = Annotated[float, Field(ge=0, le=10_000)]
Rtt = Annotated[
    int, Field(ge=0, le=500, description="Milliseconds added to a round trip between nodes; 0: none.")
]


class Strict(BaseModel):
    """No unknown keys, no conversions: `"80"` is no number, `true` is no integer."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class RawPod(Strict):
    """A pod: its node, its identity, whether it is in the mesh, whether it runs the load."""

    node: str
    namespace: Name = "bench"
    service_account: Name | None = Field(default=None, description="The pod's own name when absent.")
    captured: bool = Field(default=True, description="Whether its traffic goes through the node's proxy.")
    client: bool = Field(
        default=False, description="Whether it runs the load; every other pod runs the backend."
    )
    backend: bool = Field(
        default=True, description="Whether it runs the backend; one that nobody asks needs none."
    )
    ipv6: bool = Field(
        default=True, description="Whether it has IPv6 in a dual-stack topology; if not, IPv6 is off in it."
    )


_NAME = r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?"
_NAME_BEGINS = r"[a-z0-9][a-z0-9.-]*"
_NAME_ENDS = r"[a-z0-9.-]*[a-z0-9]"
_DOMAIN = r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?"
_DOMAIN_BEGINS = r"[a-z0-9][a-z0-9._-]*"
_DOMAIN_ENDS = r"[a-z0-9._-]*[a-z0-9]"
"""Namespaces, service accounts (RFC 1123 subdomains) and trust domains (SPIFFE-ID section 2.1)."""
_PRINCIPAL_BEGINS = (
    _DOMAIN_BEGINS,
    f"{_DOMAIN}/(ns?)?",
    f"{_DOMAIN}/ns/({_NAME_BEGINS})?",
    f"{_DOMAIN}/ns/{_NAME}/(sa?)?",
    f"{_DOMAIN}/ns/{_NAME}/sa/({_NAME_BEGINS})?",
)
_PRINCIPAL_ENDS = (
    _NAME_ENDS,
    f"(s?a)?/{_NAME}",
    f"({_NAME_ENDS})?/sa/{_NAME}",
    f"(n?s)?/{_NAME}/sa/{_NAME}",
    f"({_DOMAIN_ENDS})?/ns/{_NAME}/sa/{_NAME}",
)
_LITERAL = "compared as it is, '*' is no pattern"


def _text(about: str, *patterns: str) -> Any:
    """Text that can match: a policy that never does is a DENY without effect."""
    return StringConstraints(min_length=1, max_length=2048, pattern=f"^({'|'.join(patterns)})$"), Field(
        description=f"{about}; {_LITERAL}"
    )


KubernetesName = Annotated[str, *_text("a name of a-z, 0-9, '-' and '.'", _NAME)]


class ExactNamespace(Strict):
    """Matches that namespace."""

    exact: KubernetesName = Field(alias="Exact")


class PrefixNamespace(Strict):
    """Matches namespaces that begin so."""

    prefix: Annotated[str, *_text("how a namespace begins", _NAME_BEGINS)] = Field(alias="Prefix")


class SuffixNamespace(Strict):
    """Matches namespaces that end so."""

    suffix: Annotated[str, *_text("how a namespace ends", _NAME_ENDS)] = Field(alias="Suffix")


_PRINCIPAL = "TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT without spiffe://"


class ExactPrincipal(Strict):
    """Matches that identity."""

    exact: Annotated[str, *_text(_PRINCIPAL, f"{_DOMAIN}/ns/{_NAME}/sa/{_NAME}")] = Field(alias="Exact")


class PrefixPrincipal(Strict):
    """Matches identities that begin so."""

    prefix: Annotated[str, *_text(f"how {_PRINCIPAL} begins", *_PRINCIPAL_BEGINS)] = Field(alias="Prefix")


class SuffixPrincipal(Strict):
    """Matches identities that end so."""

    suffix: Annotated[str, *_text(f"how {_PRINCIPAL} ends", *_PRINCIPAL_ENDS)] = Field(alias="Suffix")


class Presence(Strict):
    """Matches any value, but not its absence."""

    presence: dict[str, Any] = Field(alias="Presence", max_length=0)


class RawServiceAccount(Strict):
    """Matches that service account of that namespace, of whatever trust domain."""

    namespace: KubernetesName
    service_account: KubernetesName = Field(alias="serviceAccount")


Namespaces = Annotated[
    list[ExactNamespace | PrefixNamespace | SuffixNamespace | Presence], Field(min_length=1)
]
Principals = Annotated[
    list[ExactPrincipal | PrefixPrincipal | SuffixPrincipal | Presence], Field(min_length=1)
]
ServiceAccounts = Annotated[list[RawServiceAccount], Field(min_length=1)]
Networks = Annotated[list[IPv4Network | IPv6Network], Field(min_length=1)]
Ports = Annotated[list[Annotated[int, Field(ge=1, le=65535)]], Field(min_length=1)]


class RawMatch(Strict):
    """Fields are ANDed, the values of one field ORed; names and meaning are ztunnel's."""

    namespaces: Namespaces | None = None
    not_namespaces: Namespaces | None = Field(default=None, alias="notNamespaces")
    service_accounts: ServiceAccounts | None = Field(default=None, alias="serviceAccounts")
    not_service_accounts: ServiceAccounts | None = Field(default=None, alias="notServiceAccounts")
    principals: Principals | None = None
    not_principals: Principals | None = Field(default=None, alias="notPrincipals")
    source_ips: Networks | None = Field(default=None, alias="sourceIps")
    not_source_ips: Networks | None = Field(default=None, alias="notSourceIps")
    destination_ips: Networks | None = Field(default=None, alias="destinationIps")
    not_destination_ips: Networks | None = Field(default=None, alias="notDestinationIps")
    destination_ports: Ports | None = Field(default=None, alias="destinationPorts")
    not_destination_ports: Ports | None = Field(default=None, alias="notDestinationPorts")


Clause = Annotated[list[RawMatch], Field(min_length=1)]
Rule = Annotated[list[Clause], Field(min_length=1)]


class RawPolicy(Strict):
    """An authorization policy in ztunnel's shape.

    Rules are ORed, a rule's clauses ANDed, a clause's matches ORed.
    """

    namespace: str = Field(description="The namespace it belongs to; empty when its scope is Global.")
    scope: Literal["Global", "Namespace", "WorkloadSelector"]
    action: Literal["Allow", "Deny"]
    dry_run: bool = Field(default=False, alias="dryRun")
    rules: Annotated[
        list[Rule], Field(description="None: it matches nothing, so that an Allow allows nothing.")
    ]


IpFamilies = Annotated[list[IpFamily], Field(min_length=1, max_length=2)]


class RawService(Strict):
    """A virtual address that stands for several pods; only a data plane resolves it."""

    endpoints: Annotated[list[str], Field(min_length=1, description="Captured pods with a backend.")]


class RawTopology(Strict):
    """What should exist."""

    underlay: IPv4Network = IPv4Network("172.30.0.0/24")
    pods_supernet: IPv4Network = IPv4Network("10.244.0.0/16")
    ip_families: IpFamilies = Field(
        default=[IpFamily.IPV4], description='["ipv4"], or ["ipv4", "ipv6"] for dual-stack.'
    )
    underlay6: IPv6Network = Field(
        default=IPv6Network("fd00:172:30::/64"), description="Used where ip_families has ipv6."
    )
    pods_supernet6: IPv6Network = Field(
        default=IPv6Network("fd00:10:244::/56"), description="Used where ip_families has ipv6."
    )
    nodes: Annotated[list[Name], Field(min_length=1, max_length=64)]
    hosts: Annotated[list[Name], Field(max_length=64, description="Hosts outside the mesh.")] = []
    pods: Annotated[dict[Name, RawPod], Field(min_length=1, max_length=256)]
    services: dict[Name, RawService] = {}
    policies: dict[Name, RawPolicy] = {}


class RawEndpoints(Strict):
    """Who talks to whom."""

    source: str = Field(alias="from", description="A pod with client = true.")
    destination: str = Field(alias="to", description="A pod without client = true, a host or a service.")


FillerRules = Annotated[int, Field(ge=0, le=10_000)]
Streams = Annotated[
    int, Field(ge=1, le=STREAMS_PER_TUNNEL, description="Most connections that a tunnel carries at once.")
]
WindowKib = Annotated[
    int,
    Field(
        ge=64, le=65_536, description="A stream's flow-control window, KiB; a tunnel's is four times that."
    ),
]
Policies = Annotated[
    int, Field(ge=0, le=20_000, description="Authorization policies that match nothing, half of each action.")
]


class RawBlock(Strict):
    """Every combination of the listed values is a configuration; a repeated one counts once."""

    path: Annotated[list[Path], Field(min_length=1)]
    dataplane: Annotated[list[str], Field(min_length=1)]
    interception: Annotated[list[Interception], Field(min_length=1)] = [Interception.NONE]
    reuse: Annotated[list[Reuse], Field(min_length=1)] = [Reuse.ON]
    same_node: Annotated[list[SameNode], Field(min_length=1)] = [SameNode.HBONE]
    filler_rules: Annotated[list[FillerRules], Field(min_length=1)] = [0]
    ip_family: Annotated[list[IpFamily], Field(min_length=1)] = [IpFamily.IPV4]
    streams_per_tunnel: Annotated[list[Streams], Field(min_length=1)] = [STREAMS_PER_TUNNEL]
    window_kib: Annotated[list[WindowKib], Field(min_length=1)] = [WINDOW_KIB]
    policies: Annotated[list[Policies], Field(min_length=1)] = [0]
    rtt_ms: Annotated[list[Rtt], Field(min_length=1)] = [0]
    exclude: list[RawPart] = Field(
        default=[], description="Combinations left out: those that agree with every key given."
    )


class RawPart(Strict):
    """Some factors of a configuration."""

    path: Path | None = None
    dataplane: str | None = None
    interception: Interception | None = None
    reuse: Reuse | None = None
    same_node: SameNode | None = None
    filler_rules: FillerRules | None = None
    ip_family: IpFamily | None = None
    streams_per_tunnel: Streams | None = None
    window_kib: WindowKib | None = None
    policies: Policies | None = None
    rtt_ms: Rtt | None = None


class RawDefault(Strict):
    """The configuration that `vary` departs from."""

    path: Path
    dataplane: str
    interception: Interception
    reuse: Reuse = Reuse.ON
    same_node: SameNode = SameNode.HBONE
    filler_rules: FillerRules = 0
    ip_family: IpFamily = IpFamily.IPV4
    streams_per_tunnel: Streams = STREAMS_PER_TUNNEL
    window_kib: WindowKib = WINDOW_KIB
    policies: Policies = 0
    rtt_ms: Rtt = 0


class RawVary(Strict):
    """One factor away from the default, everything else kept."""

    factor: Literal[
        "path",
        "dataplane",
        "interception",
        "reuse",
        "same_node",
        "filler_rules",
        "ip_family",
        "streams_per_tunnel",
        "window_kib",
        "policies",
        "rtt_ms",
    ]
    values: Annotated[list[str | int], Field(min_length=1)]
    at: RawAt | None = Field(
        default=None, description="Where: other factors' values instead of the default's."
    )


class RawAt(Strict):
    """Values of other factors; every combination of them is taken."""

    path: Annotated[list[Path], Field(min_length=1)] | None = None
    dataplane: Annotated[list[str], Field(min_length=1)] | None = None
    interception: Annotated[list[Interception], Field(min_length=1)] | None = None
    reuse: Annotated[list[Reuse], Field(min_length=1)] | None = None
    ip_family: Annotated[list[IpFamily], Field(min_length=1)] | None = None
    rtt_ms: Annotated[list[Rtt], Field(min_length=1)] | None = None


class RawFirstPacket(Strict):
    """Probes: a new connection each, its first request and some later ones."""

    probes: Annotated[int, Field(ge=1, le=100_000, description="Per first state (cold, warm, new) and cell.")]
    later_requests: Annotated[int, Field(ge=1, le=10_000, description="On each probed connection.")]
    gap_ms: Milliseconds = Field(description="Before every probe of every state, after the control call.")
    later_interval_ms: Milliseconds


class RawRate(Strict):
    """An open loop on live connections, for latency below saturation."""

    hz: Annotated[float, Field(ge=0, le=1_000_000, description="0 leaves the stage out.")]
    seconds: Seconds
    connections: Annotated[int, Field(ge=1, le=10_000)]
    arrivals: Arrivals = Field(
        default=Arrivals.CONSTANT, description="Evenly, or with gaps as chance draws them, seeded."
    )


class RawRequests(Strict):
    """Requests back to back on live connections, for throughput."""

    connections: Annotated[int, Field(ge=1, le=10_000)]
    seconds: Seconds = Field(description="0 leaves the stage out.")


class RawTransfer(Strict):
    """Bulk download."""

    streams: Annotated[int, Field(ge=1, le=1_000)]
    seconds: Seconds = Field(description="0 leaves the stage out.")


class RawStage(Strict):
    """How long a stage takes that nothing else is said of."""

    seconds: Seconds = Field(default=0, description="0 leaves the stage out.")


class RawConnects(RawStage):
    """New connections back to back, one request on each."""

    connections: Annotated[int, Field(ge=1, le=1_000, description="So many at once.")] = 8


class RawCoreLoad(Strict):
    """What is asked of each cell, but for the scenarios that are found by name."""

    response_bytes: Literal[0, 128, 1024, 16384, 65536] = 128
    first_packet: RawFirstPacket
    rate: RawRate
    requests: RawRequests
    transfer: RawTransfer
    rtt: RawStage = Field(default=RawStage(), description="Round trips of 128 bytes on one connection.")
    alone: RawStage = Field(
        default=RawStage(), description="Requests and transfer once more, on one connection each."
    )
    connects: RawConnects = RawConnects()
    workers: Annotated[
        int, Field(ge=1, le=64, description="Locust processes per client pod, which share its load.")
    ] = 1


def _scenario(name: str, keys: Mapping[str, scenarios.Key]) -> type[Strict]:
    """The model of what `[load.<name>]` may hold."""
    fields: dict[str, Any] = {}
    for key, each in keys.items():
        bounds = Field(default=each.default, ge=each.low, le=each.high, description=each.about)
        fields[key.replace("-", "_")] = (type(each.default), bounds)
    about = (scenarios.known()[name].__doc__ or "").partition("\n")[0]
    return create_model(f"Raw{name.title().replace('-', '')}", __base__=Strict, __doc__=about, **fields)


if TYPE_CHECKING:
    RawLoad = RawCoreLoad
else:  # one key per scenario that is found, so that adding one is one file
    RawLoad = create_model(
        "RawLoad",
        __base__=RawCoreLoad,
        __doc__="What is asked of each cell.",
        **{
            name.replace("-", "_"): (
                _scenario(name, keys) | None,
                Field(default=None, description="Left out where it is absent."),
            )
            for name, keys in scenarios.keyed().items()
        },
    )


class RawThresholds(Strict):
    """What counts as a difference, and what has to hold."""

    resolution_percent: Annotated[
        float, Field(gt=0, le=100, description="No difference: the whole interval is smaller than this.")
    ] = 5.0
    later_percent: Annotated[float, Field(gt=0, le=100, description="The same for later packets.")] = 2.0
    gates: Annotated[
        list[str],
        Field(max_length=100, description="What has to hold: `first_packet.warm.p99 < 3ms`; else exit 4."),
    ] = []


class RawSuite(Strict):
    """A suite file."""

    extends: str | None = Field(default=None, description="Another suite of the same folder, by name.")
    description: str = ""
    rounds: Annotated[int, Field(ge=1, le=1000, description="At least; 6 or more for intervals.")]
    most_rounds: Annotated[
        int, Field(ge=0, le=1000, description="Add rounds up to so many while a question is open; 0: never.")
    ] = 0
    minutes: Annotated[
        float,
        Field(ge=0, le=1440, description="Add no rounds after so many minutes of measuring; 0: no limit."),
    ] = 0
    lanes: Annotated[
        int,
        Field(ge=1, le=8, description="Most configurations that are measured in turns, the twin included."),
    ] = 6
    twin: bool = Field(
        default=True, description="Measure each bout's reference twice: the A/A control of its comparisons."
    )
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] | None = Field(
        default=None, description="Of the cells' order; drawn and recorded when absent."
    )
    topology: RawTopology
    paths: Annotated[dict[Path, RawEndpoints], Field(min_length=1)]
    matrix: Annotated[list[RawBlock], Field(min_length=1)]
    default: RawDefault | None = None
    vary: list[RawVary] = []
    load: RawLoad
    thresholds: RawThresholds = RawThresholds()


def json_schema() -> dict[str, Any]:
    """The schema that editors use (taplo and others: `#:schema` in a suite's first line)."""
    schema = RawSuite.model_json_schema(by_alias=True)
    # what `extends` brings need not be written again
    schema.pop("required", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
