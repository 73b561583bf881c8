"""Random meshes: small ones, each on addresses of its own, many of them in one document.

Few addresses, names and places, so that much coincides: workloads of one address, services in front of
workloads' addresses, blocks around both. Where ztunnel's answer depends on the order in which resources
arrive, they are in the order in which its answer is ours: workloads by uid from the last to the first (its
last equal wins), services by key from the first (its first wins), at most one canonical service, and no
address twice among the services of one namespace (its last replaces the others).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from proxy.tests.differential.ztunnel import NODE

SPOTS = range(1, 6)
"""Of each family: the addresses of one mesh."""
NAMESPACES = ("a", "b", "c")
PORTS = (80, 81, 82)
"""82 is nobody's."""
Document = dict[str, list[dict[str, Any]]]
Spot = tuple[int, int]
"""IP version and number."""


@dataclass(frozen=True, kw_only=True)
class Dial:
    """One app's connection."""

    namespace: str
    spot: Spot
    port: int


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """A mesh that stands nowhere yet, and what is dialled in it."""

    workloads: list[dict[str, Any]]
    services: list[dict[str, Any]]
    dials: list[Dial]

    def placed(self, number: int) -> Document:
        """On addresses and under names of its own."""
        return {
            "workloads": [_placed(each, number) for each in self.workloads],
            "services": [_placed(each, number) for each in self.services],
        }


def address(number: int, spot: Spot) -> str:
    """A spot's address in the mesh of that number."""
    version, host = spot
    return f"10.{number >> 8}.{number & 255}.{host}" if version == 4 else f"fd00:{number:x}::{host}"


def _block(number: int, version: int, length: int) -> str:
    return f"{address(number, (version, 0))}/{length}"


def _placed(resource: dict[str, Any], number: int) -> dict[str, Any]:
    """With its spots, blocks and names made this mesh's."""

    def text(value: Any) -> Any:
        return value.replace("MESH", f"m{number}") if isinstance(value, str) else value

    made = {name: text(value) for name, value in resource.items()}
    if "workloadIps" in made:
        made["workloadIps"] = [address(number, spot) for spot in made["workloadIps"]]
        made["services"] = {text(key): ports for key, ports in made["services"].items()}
    else:
        made["vips"] = [f"{network}/{address(number, spot)}" for network, spot in made["vips"]]
        made["cidrVips"] = [
            {"network": network, "cidr": _block(number, *block)} for network, block in made["cidrVips"]
        ]
    return made


spots = st.tuples(st.sampled_from((4, 4, 6)), st.sampled_from(SPOTS))
networks = st.sampled_from(("", "", "", "", "far"))
ports = st.fixed_dictionaries({"80": st.sampled_from((8080, 8080, 9080, 0))}, optional={"81": st.just(8081)})
"""A service's."""
own_ports = st.dictionaries(st.sampled_from(("80", "81")), st.sampled_from((7080, 7080, 7080, 0)), max_size=2)
"""An endpoint's, of its own."""
hostnames = st.sampled_from(("one.MESH.example", "two.MESH.example"))
localities = st.fixed_dictionaries(
    {"region": st.sampled_from(("r1", "r2")), "zone": st.sampled_from(("z1", "z2")), "subzone": st.just("")}
)
KINDS = ("//Pod/", "/networking.istio.io/WorkloadEntry/", "/networking.istio.io/ServiceEntry/")
workloads = st.fixed_dictionaries(
    {
        "uid": st.builds(
            lambda kind, namespace, number: f"c{kind}{namespace}/MESH-{number}",
            st.sampled_from(KINDS),
            st.sampled_from(NAMESPACES),
            st.integers(0, 9),
        ),
        "namespace": st.sampled_from(NAMESPACES),
        "serviceAccount": st.just("sa"),
        "trustDomain": st.just("cluster.local"),
        "workloadIps": st.sampled_from((1, 1, 1, 2, 2, 0)).flatmap(
            lambda count: st.lists(spots, min_size=count, max_size=count, unique=True)
        ),
        "protocol": st.sampled_from(("HBONE", "HBONE", "TCP")),
        "node": st.sampled_from((NODE, "node-b")),
        "clusterId": st.sampled_from(("Kubernetes", "other")),
        "network": networks,
        "networkMode": st.sampled_from(("Standard",) * 5 + ("HostNetwork",)),
        "status": st.sampled_from(("Healthy",) * 4 + ("Unhealthy",)),
        "capacity": st.sampled_from((0, 1, 1, 1, 3)),
        "locality": localities,
    }
)
scopes = st.lists(
    st.sampled_from(("Region", "Zone", "Subzone", "Node", "Cluster", "Network")), max_size=3, unique=True
)
balancers = st.fixed_dictionaries(
    {
        "mode": st.sampled_from(("Standard", "Failover", "Failover", "Strict", "Passthrough")),
        "routingPreferences": scopes,
        "healthPolicy": st.sampled_from(("OnlyHealthy", "AllowAll")),
    }
)
services = st.fixed_dictionaries(
    {
        "namespace": st.sampled_from(NAMESPACES),
        "hostname": hostnames,
        "vips": st.lists(st.tuples(networks, spots), max_size=3, unique=True),
        "cidrVips": st.lists(
            st.tuples(networks, st.sampled_from(((4, 24), (4, 29), (4, 30), (6, 64), (6, 126)))),
            max_size=2,
            unique=True,
        ),
        "ports": ports,
        "canonical": st.booleans(),
        "visibility": st.sampled_from(("Public", "Public", "Namespace")),
    },
    optional={
        "ipFamilies": st.sampled_from(("Dual", "IPv4", "IPv6")),
        "loadBalancer": balancers,
    },
)


@st.composite
def meshes(draw: Callable[..., Any]) -> Mesh:
    """One mesh."""
    made = draw(
        st.lists(
            services, min_size=1, max_size=4, unique_by=lambda each: (each["namespace"], each["hostname"])
        )
    )
    made.sort(key=lambda each: f"{each['namespace']}/{each['hostname']}")
    taken: set[tuple[str, Any]] = set()
    canonical = False
    for service in made:
        service["name"] = service["hostname"]
        service["canonical"] = service["canonical"] and not canonical
        canonical |= service["canonical"]
        service["vips"] = [vip for vip in service["vips"] if (service["namespace"], vip) not in taken]
        taken.update((service["namespace"], vip) for vip in service["vips"])
    keys = [f"{each['namespace']}/{each['hostname']}" for each in made]
    endpoint_of = st.lists(st.sampled_from(keys), min_size=1, max_size=3, unique=True)
    members = draw(st.lists(workloads, min_size=3, max_size=6, unique_by=lambda each: each["uid"]))
    for member in members:
        member["name"] = member["uid"].rpartition("/")[2]
        member["services"] = {key: draw(own_ports) for key in draw(endpoint_of)}
    members.sort(key=lambda each: str(each["uid"]), reverse=True)
    theirs = [spot for member in members for spot in member["workloadIps"]]
    virtual = [spot for service in made for _, spot in service["vips"]]
    dials = st.builds(
        Dial,
        namespace=st.sampled_from(NAMESPACES[:2]),
        spot=st.sampled_from([*virtual, *virtual, *theirs]) | spots if theirs or virtual else spots,
        port=st.sampled_from((80, 80, 80, 81, 82)),
    )
    return Mesh(
        workloads=members, services=made, dials=draw(st.lists(dials, min_size=5, max_size=8, unique=True))
    )


def drawn(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """So many values: all of them go to one ztunnel, hence they are drawn before any is looked at."""
    found: list[Any] = []

    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def draw(value: Any) -> None:
        found.append(value)

    draw()
    return found
