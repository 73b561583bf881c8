"""The header's form; what is not known is left out."""

from proxy.listeners.baggage import baggage
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
