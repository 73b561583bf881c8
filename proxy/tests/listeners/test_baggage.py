"""The header's form; what is not known is left out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.listeners.baggage import LONGEST, baggage, claims
from proxy.state.model import Locality
from proxy.telemetry.record import Claims
from proxy.tests.mesh import workload


def test_everything_known_is_told_in_ztunnels_order() -> None:
    told = baggage(
        workload(
            "web-1",
            "10.0.0.1",
            cluster="c1",
            workload_name="web",
            workload_type="deployment",
            canonical_name="web",
            canonical_revision="v2",
        )
    )

    assert told == (
        "k8s.cluster.name=c1,k8s.namespace.name=ns,k8s.deployment.name=web,service.name=web,service.version=v2"
    )


def test_unknown_kind_is_a_pod() -> None:
    assert baggage(workload("web-1", "10.0.0.1")) == "k8s.namespace.name=ns,k8s.pod.name=web-1"


def test_what_is_told_is_read_back() -> None:
    """P13."""
    told = baggage(
        workload(
            "web-1",
            "10.0.0.1",
            cluster="c1",
            workload_name="web",
            workload_type="cronjob",
            canonical_name="shop",
            canonical_revision="v2",
            locality=Locality(region="r1", zone="z1"),
        )
    )

    assert claims(told) == Claims(
        cluster="c1",
        namespace="ns",
        workload_name="web",
        canonical_name="shop",
        canonical_revision="v2",
        region="r1",
        zone="z1",
    )


def test_what_is_empty_unknown_or_too_long_is_not_said() -> None:
    for header in (None, "", ",=,", "a=b", "service.name=", "service.name", f"service.name={'x' * 254}"):
        assert claims(header) is None


@given(st.text(max_size=300))
def test_any_header_is_read(header: str) -> None:
    said = claims(f"{header},service.name=web;ttl=1")

    assert said is not None
    assert len(said.canonical_name) <= LONGEST
