"""The real gRPC service over real unix sockets, in a process of its own."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509

from harness.control import Channel, ControlError
from harness.controlplane.service import IMPERSONATED, METHOD
from harness.tests.controlplane.test_ca import csr
from harness.tests.controlplane.test_document import topology
from harness.topology.document import to_json
from proxy.proto import ca_pb2

CLIENT = "spiffe://cluster.local/ns/bench/sa/client"
WEB = "spiffe://cluster.local/ns/bench/sa/web"


@pytest.fixture
def rundir(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "topology.json").write_text(to_json(topology(lanes=2)))
    command = [sys.executable, "-m", "harness.controlplane", "--rundir", str(tmp_path)]
    with subprocess.Popen(command) as process:
        try:
            Channel(tmp_path / "controlplane" / "control.sock", connect_timeout_s=10).close()
            yield tmp_path
            process.terminate()
            assert process.wait(timeout=10) == 0
        finally:
            process.kill()  # nothing where it has ended, as it should


def ask(
    rundir: Path,
    node: str,
    identity: str,
    *,
    metadata: bool = True,
    validity_duration: int = 3600,
    lane: int = 1,
    request: str = "",
) -> ca_pb2.IstioCertificateResponse:
    message = ca_pb2.IstioCertificateRequest(
        csr=request or csr(uri=identity), validity_duration=validity_duration
    )
    if metadata:
        message.metadata[IMPERSONATED] = identity
    with grpc.insecure_channel(f"unix:{rundir}/ca/{node}/{lane}/ca.sock") as channel:
        create = channel.unary_unary(
            METHOD,
            request_serializer=ca_pb2.IstioCertificateRequest.SerializeToString,
            response_deserializer=ca_pb2.IstioCertificateResponse.FromString,
        )
        answer: ca_pb2.IstioCertificateResponse = create(message, timeout=5)
        return answer


def status(rundir: Path) -> dict[str, Any]:
    with Channel(rundir / "controlplane" / "control.sock") as channel:
        of_lanes: dict[str, Any] = channel.call("status").document
        return of_lanes


def test_a_pod_of_the_node_gets_its_certificate(rundir: Path) -> None:
    answer = ask(rundir, "a", CLIENT)

    leaf, root = (x509.load_pem_x509_certificate(pem.encode()) for pem in answer.cert_chain)
    leaf.verify_directly_issued_by(root)
    assert leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
        x509.UniformResourceIdentifier
    ) == [CLIENT]


def test_each_lane_has_a_root_of_its_own(rundir: Path) -> None:
    """A certificate of one lane is worth nothing in another."""
    roots = {ask(rundir, "a", CLIENT, lane=lane).cert_chain[-1] for lane in (1, 2)}

    assert len(roots) == 2


def test_both_nodes_share_one_root(rundir: Path) -> None:
    roots = {ask(rundir, node, identity).cert_chain[-1] for node, identity in (("a", CLIENT), ("b", WEB))}

    assert len(roots) == 1


@pytest.mark.parametrize(
    ("question", "code", "said"),
    [
        ({"identity": WEB}, grpc.StatusCode.PERMISSION_DENIED, "identity-not-on-node"),
        ({"identity": CLIENT, "metadata": False}, grpc.StatusCode.PERMISSION_DENIED, "identity ''"),
        ({"identity": CLIENT, "validity_duration": 0}, grpc.StatusCode.INVALID_ARGUMENT, "bad-ttl"),
        ({"identity": CLIENT, "request": "junk"}, grpc.StatusCode.INVALID_ARGUMENT, "malformed"),
        ({"identity": CLIENT, "request": csr(uri=WEB)}, grpc.StatusCode.INVALID_ARGUMENT, "bad-san"),
    ],
)
def test_refusals_carry_a_status_and_a_reason(
    rundir: Path, question: dict[str, Any], code: grpc.StatusCode, said: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        ask(rundir, "a", **question)

    assert code == caught.value.code()
    assert said in caught.value.details()


def test_a_message_beyond_the_limit_is_cut_off_by_grpc(rundir: Path) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        ask(rundir, "a", CLIENT, request="A" * 100_000)

    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_status_counts_issued_and_refused(rundir: Path) -> None:
    ask(rundir, "a", CLIENT)
    ask(rundir, "b", WEB)
    with pytest.raises(grpc.RpcError):
        ask(rundir, "b", CLIENT)

    assert status(rundir) == {
        "1": {"issued": {CLIENT: 1, WEB: 1}, "refused": {"identity-not-on-node": 1}},
        "2": {"issued": {}, "refused": {}},
    }


def test_an_unknown_op_names_the_known_ones(rundir: Path) -> None:
    with (
        Channel(rundir / "controlplane" / "control.sock") as channel,
        pytest.raises(ControlError, match="unknown op 'x'; known: status"),
    ):
        channel.call("x")


def test_sockets_are_the_owner_s_alone(rundir: Path) -> None:
    modes = {path.stat().st_mode & 0o777 for path in rundir.glob("ca/*/*/ca.sock")}

    assert modes == {0o600}


def test_no_key_is_written_anywhere(rundir: Path) -> None:
    ask(rundir, "a", CLIENT)

    kept = [path for path in rundir.rglob("*") if path.is_file() and "PRIVATE KEY" in path.read_text()]
    assert kept == []
