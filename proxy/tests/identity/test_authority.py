"""The gRPC client against a real server on a unix socket."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToDict

from proxy.config import Settings
from proxy.environment import Secret
from proxy.identity.authority import AuthorityFailed, GrpcAuthority
from proxy.identity.certificate import Request
from proxy.proto.ca_pb2 import IstioCertificateRequest
from proxy.tests.ca import CLIENT, Ca, grpc_ca, pem
from proxy.tests.sockets import until


def settings(path: Path, **changes: object) -> Settings:
    given: dict[str, object] = {"ca_address": f"unix://{path}", "ca_token": None, **changes}
    return Settings(**given)  # type: ignore[arg-type]  # fields by name


def test_a_certificate_over_the_wire(tmp_path: Path) -> None:
    ca, token = Ca(), tmp_path / "token"
    token.write_text("secret\n")

    async def scenario() -> None:
        path = tmp_path / "ca.sock"
        async with (
            grpc_ca(path, lambda request: ca.answer(request.csr)) as calls,
            GrpcAuthority(settings(path, ca_token=token)) as authority,
        ):
            request = Request(CLIENT)
            answer = await authority.sign(CLIENT, request.csr_pem, 3600)

            assert request.accept(answer, now=time.time()).identity == CLIENT
            ((sent, metadata),) = calls.had
            assert sent.validity_duration == 3600
            assert MessageToDict(sent.metadata) == {"ImpersonatedIdentity": str(CLIENT)}
            assert metadata["authorization"] == "Bearer secret"

    asyncio.run(scenario())


def test_a_refusal_carries_the_authoritys_words(tmp_path: Path) -> None:
    def refuse(_: IstioCertificateRequest) -> Sequence[str]:
        raise PermissionError("no pod on this node has that identity")

    async def scenario() -> None:
        path = tmp_path / "ca.sock"
        async with grpc_ca(path, refuse), GrpcAuthority(settings(path)) as authority:
            with pytest.raises(AuthorityFailed, match="PERMISSION_DENIED: no pod on this node"):
                await authority.sign(CLIENT, Request(CLIENT).csr_pem, 3600)

    asyncio.run(scenario())


def test_an_answer_that_is_too_large_is_a_failure(tmp_path: Path) -> None:
    """F42: huge."""

    async def scenario() -> None:
        path = tmp_path / "ca.sock"
        async with (
            grpc_ca(path, lambda _: ["x" * 2_000_000]),
            GrpcAuthority(settings(path)) as authority,
        ):
            with pytest.raises(AuthorityFailed, match="RESOURCE_EXHAUSTED"):
                await authority.sign(CLIENT, Request(CLIENT).csr_pem, 3600)

    asyncio.run(scenario())


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff", b"\x0a\x02\xff\xfe", b"\x0a\x05x"])
def test_an_answer_that_is_no_message_is_a_failure(tmp_path: Path, garbage: bytes) -> None:
    """F42, P01."""

    async def scenario() -> None:
        path = tmp_path / "ca.sock"
        async with grpc_ca(path, lambda _: garbage), GrpcAuthority(settings(path)) as authority:
            with pytest.raises(AuthorityFailed, match="bytes that are no certificate response"):
                await authority.sign(CLIENT, Request(CLIENT).csr_pem, 3600)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"abc\ndef\n", "expected one line of printable ASCII"),
        (b"", "expected one line of printable ASCII"),
        (b"abc\x00", "expected one line of printable ASCII"),
        (b"abc\xff", "expected one line of printable ASCII"),
        (None, "Is a directory"),
    ],
)
def test_a_token_that_no_header_can_carry_is_a_failure_that_does_not_show_it(
    tmp_path: Path, content: bytes | None, why: str
) -> None:
    """P01, T42: and it is read anew for the next call."""
    token = tmp_path / "token"
    if content is None:
        token.mkdir()
    else:
        token.write_bytes(content)

    async def scenario() -> None:
        ca, path = Ca(), tmp_path / "ca.sock"
        async with (
            grpc_ca(path, lambda request: ca.answer(request.csr)) as calls,
            GrpcAuthority(settings(path, ca_token=token)) as authority,
        ):
            with pytest.raises(AuthorityFailed, match=why) as failed:
                await authority.sign(CLIENT, Request(CLIENT).csr_pem, 3600)
            assert "abc" not in str(failed.value)
            if content is not None:
                token.write_text("abc")
                await authority.sign(CLIENT, Request(CLIENT).csr_pem, 3600)
                assert calls.had[-1][1]["authorization"] == "Bearer abc"

    asyncio.run(scenario())


def test_nobody_there(tmp_path: Path) -> None:
    """F40."""

    async def scenario() -> None:
        async with GrpcAuthority(settings(tmp_path / "none.sock")) as authority:
            with pytest.raises(AuthorityFailed, match=r"CA unix://.*none\.sock for spiffe://.*UNAVAILABLE"):
                await authority.sign(CLIENT, Request(CLIENT).csr_pem, 3600)

    asyncio.run(scenario())


def test_settings_that_cannot_work_are_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(AuthorityFailed, match="CA_ADDRESS is not set"):
        GrpcAuthority(Settings())
    with pytest.raises(AuthorityFailed, match=r"CA_ROOT_CA=.*absent.pem: No such file"):
        GrpcAuthority(Settings(ca_address="https://localhost:15012", ca_root=tmp_path / "absent.pem"))


def test_the_cluster_and_further_headers_are_told(tmp_path: Path) -> None:
    """P33, P30: ztunnel's `clusterid` with the token, and CA_HEADER_* with every call."""
    ca, path = Ca(), tmp_path / "ca.sock"
    given = (("x-tenant", Secret("a b")), ("authorization", Secret("of no use beside a token")))

    async def asked(token: Path | Secret | None) -> dict[str, str]:
        changes = {"ca_token": token, "ca_headers": given, "cluster": "east"}
        async with (
            grpc_ca(path, lambda request: ca.answer(request.csr)) as calls,
            GrpcAuthority(settings(path, **changes)) as authority,
        ):
            await authority.sign(CLIENT, Request(CLIENT).csr_pem, 3600)
        return calls.had[0][1]

    with_token = asyncio.run(asked(Secret("eyJ.x.y")))
    without = asyncio.run(asked(tmp_path / "absent"))

    expected = {"authorization": "Bearer eyJ.x.y", "clusterid": "east", "x-tenant": "a b"}
    assert expected.items() <= with_token.items()
    assert "clusterid" not in without
    assert without["authorization"] == "of no use beside a token"


def test_roots_that_change_are_followed_and_no_call_is_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """P33: with the next call; what cannot be used changes nothing, and is told once."""
    old, new, roots = Ca("old"), Ca("new"), tmp_path / "roots.pem"
    roots.write_text(pem(old.root))

    async def scenario() -> None:
        async with grpc_ca(None, lambda request: new.answer(request.csr), tls=new) as calls:
            given = settings(
                tmp_path,
                ca_address=f"https://localhost:{calls.port}",
                ca_root=roots,
                ca_hostname="istiod.istio-system.svc",
            )
            async with GrpcAuthority(given) as authority:

                async def sign() -> None:
                    await authority.sign(CLIENT, Request(CLIENT).csr_pem, 3600)

                with pytest.raises(AuthorityFailed, match="UNAVAILABLE"):
                    await sign()
                roots.write_text(pem(new.root))
                await sign()
                for useless in ("garbage", ""):
                    roots.write_text(useless)
                    await sign()
                    await sign()
                roots.unlink()
                await sign()
                calls.gate.clear()
                async with asyncio.TaskGroup() as group:
                    waiting = group.create_task(sign())
                    await until(lambda: len(calls.had) == 7)
                    roots.write_text(pem(new.root) + pem(old.root))
                    late = group.create_task(sign())
                    await until(lambda: len(calls.had) == 8)
                    assert not waiting.done()
                    assert not late.done()
                    calls.gate.set()

    with caplog.at_level(logging.INFO):
        asyncio.run(scenario())

    lines = [record.getMessage().partition(" error=")[0] for record in caplog.records]
    kept = "roots of the CA not read anew, those before are kept"
    changed = "roots of the CA changed, connecting anew"
    assert [line for line in lines if line == kept] == [kept] * 2
    assert len([line for line in lines if line.startswith(changed)]) == 2


def test_an_authority_behind_tls_must_be_the_one_expected(tmp_path: Path) -> None:
    """As a real ztunnel asks: https, its own roots, a name that may differ from the address."""
    ca, roots, stranger = Ca(), tmp_path / "roots.pem", tmp_path / "stranger.pem"
    roots.write_text(pem(ca.root))
    stranger.write_text(pem(Ca("stranger").root))

    async def scenario() -> None:
        async with grpc_ca(None, lambda request: ca.answer(request.csr), tls=ca) as calls:
            address = f"https://localhost:{calls.port}"
            good = settings(
                tmp_path, ca_address=address, ca_root=roots, ca_hostname="istiod.istio-system.svc"
            )
            async with GrpcAuthority(good) as authority:
                assert len(await authority.sign(CLIENT, Request(CLIENT).csr_pem, 3600)) == 2
            for bad in (
                replace(good, ca_root=stranger),
                replace(good, ca_hostname=""),
            ):
                async with GrpcAuthority(bad) as authority:
                    with pytest.raises(AuthorityFailed, match="UNAVAILABLE"):
                        await authority.sign(CLIENT, Request(CLIENT).csr_pem, 3600)

    asyncio.run(scenario())
