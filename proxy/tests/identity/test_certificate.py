"""What of a CA's answer is taken: T37, T41, F42."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.identity.certificate import Request
from proxy.identity.chain import MAX_CHECKS, InvalidChain
from proxy.tests.ca import CLIENT, SERVER, Ca, pem

CA, OTHER = Ca(), Ca("other")
REQUEST = Request(CLIENT)
GOOD = CA.answer(REQUEST.csr_pem)
CSR = x509.load_pem_x509_csr(REQUEST.csr_pem.encode())
URI = [x509.UniformResourceIdentifier(str(CLIENT))]


MIDDLE = Ca("middle", under=CA)
LOW = Ca("low", under=MIDDLE)
LATE = Ca("late", under=CA, life=timedelta(hours=-1))
LATE_ROOT = Ca("late root", life=timedelta(hours=-1))
NO_CA = Ca("no ca", under=CA, ca=False)


def own_key() -> ec.EllipticCurvePublicKey:
    key = CSR.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key


def test_the_request_names_the_identity_and_nothing_else() -> None:
    names = CSR.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert list(names) == URI
    assert len(CSR.extensions) == 1
    assert CSR.subject == x509.Name([])
    assert CSR.is_signature_valid


def test_a_good_answer() -> None:
    found = REQUEST.accept(GOOD, now=time.time())

    assert found.identity == CLIENT
    assert found.not_before < found.half_life < found.not_after
    assert found.half_life - found.not_before == found.not_after - found.half_life


def test_an_intermediate_is_part_of_the_chain() -> None:
    middle = Ca("middle", under=CA)
    leaf = middle.answer(REQUEST.csr_pem)[0]

    found = REQUEST.accept([leaf, pem(middle.root), pem(CA.root)], now=time.time())

    assert found.chain_pem.count(b"BEGIN CERTIFICATE") == 2


def test_a_leaf_that_stands_alone_has_its_root_behind_it() -> None:
    """OpenSSL would look for it anew in each handshake, and send it all the same."""
    other = pem(Ca("other").root)

    found = REQUEST.accept([GOOD[0], other + GOOD[1]], now=time.time())

    leaf, root = x509.load_pem_x509_certificates(found.chain_pem)
    assert (leaf.issuer, root) == (root.subject, CA.root)


def test_several_roots_are_all_taken() -> None:
    """F44: both roots in the overlap of a rotation."""
    found = REQUEST.accept([GOOD[0], pem(OTHER.root) + GOOD[1]], now=time.time())

    assert found.roots_pem.count("BEGIN CERTIFICATE") == 2


LEAF = pem(LOW.leaf(own_key(), URI))
ROOT, STRANGER = pem(CA.root), pem(OTHER.root)


@pytest.mark.parametrize(
    "answer",
    [
        [LEAF, pem(LOW.root), pem(MIDDLE.root), ROOT],
        [LEAF, pem(MIDDLE.root), pem(LOW.root), ROOT],
        [LEAF, ROOT + pem(MIDDLE.root) + pem(LOW.root), ROOT],
        [LEAF, pem(LOW.root) + STRANGER, ROOT, pem(MIDDLE.root), ROOT + STRANGER],
        [LEAF + pem(LOW.root), pem(LOW.root) + pem(MIDDLE.root), STRANGER + ROOT],
        [LEAF, pem(MIDDLE.root) + pem(LATE.root) + LEAF + pem(LOW.root), ROOT],
    ],
)
def test_intermediates_may_come_in_any_order_with_others_among_them(answer: list[str]) -> None:
    """P48: what leads upwards from the leaf is sent, in that order, and nothing else."""
    found = REQUEST.accept(answer, now=time.time())

    sent = x509.load_pem_x509_certificates(found.chain_pem)
    assert sent == [x509.load_pem_x509_certificate(LEAF.encode()), LOW.root, MIDDLE.root]


def test_both_ways_up_are_sent_while_a_root_is_replaced() -> None:
    """P48: the new root is signed by the old one as well, for peers that do not know it yet."""
    new = Ca("new")
    crossed = new.crossed(CA)
    leaf = new.leaf(own_key(), URI)

    found = REQUEST.accept([pem(leaf), pem(crossed), pem(new.root) + ROOT], now=time.time())

    assert x509.load_pem_x509_certificates(found.chain_pem) == [leaf, crossed]
    assert found.roots_pem.count("BEGIN CERTIFICATE") == 2


def test_an_anchor_need_not_sign_itself() -> None:
    """P18."""
    found = REQUEST.accept([LEAF, pem(LOW.root)], now=time.time())

    assert found.roots_pem == pem(LOW.root)
    assert found.chain_pem.count(b"BEGIN CERTIFICATE") == 2


def usage_of(*, signs: bool) -> x509.KeyUsage:
    rest = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign"), False
    )
    return x509.KeyUsage(
        digital_signature=True, key_cert_sign=signs, encipher_only=False, decipher_only=False, **rest
    )


@pytest.mark.parametrize("signs", [True, False])
def test_an_authority_may_say_so_by_its_usage_alone(signs: bool) -> None:
    """P18: as for OpenSSL, where its basic constraints say nothing."""
    issuer = Ca("by usage")
    builder = x509.CertificateBuilder(
        issuer_name=issuer.root.subject,
        subject_name=issuer.root.subject,
        public_key=issuer.key.public_key(),
        serial_number=7,
        not_valid_before=issuer.root.not_valid_before_utc,
        not_valid_after=issuer.root.not_valid_after_utc,
    )
    root = builder.add_extension(usage_of(signs=signs), critical=True).sign(issuer.key, hashes.SHA256())
    answer = [pem(issuer.leaf(own_key(), URI)), pem(root)]

    if signs:
        assert REQUEST.accept(answer, now=time.time()).roots_pem == pem(root)
    else:
        with pytest.raises(InvalidChain, match="does not end in a root"):
            REQUEST.accept(answer, now=time.time())


def test_what_is_no_authority_is_no_anchor() -> None:
    """P18: OpenSSL would take the very certificate for its own proof."""
    workload = OTHER.leaf(own_key(), URI)

    found = REQUEST.accept([GOOD[0], pem(workload) + GOOD[1] + pem(NO_CA.root)], now=time.time())

    assert found.roots_pem == GOOD[1]


def test_signatures_are_not_looked_at_without_end() -> None:
    """P48, F42: many certificates of one name, each of which might be the issuer."""
    many = [pem(Ca("middle", under=CA).root) for _ in range(MAX_CHECKS + 1)]

    with pytest.raises(InvalidChain, match="more than is sane"):
        REQUEST.accept([pem(MIDDLE.leaf(own_key(), URI)), "".join(many), ROOT], now=time.time())


@settings(max_examples=400)
@example(106, 47, 0)
@given(st.integers(0, len(GOOD[0]) - 1), st.integers(0, 127), st.integers(0, 1))
def test_damaged_answers_are_refused_or_read(position: int, value: int, which: int) -> None:
    """F42, P01."""
    answer = list(GOOD)
    position %= len(answer[which])
    answer[which] = answer[which][:position] + chr(value) + answer[which][position + 1 :]
    try:
        REQUEST.accept(answer, now=time.time())
    except InvalidChain:
        return


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ([], "0 certificates"),
        (GOOD[:1], "1 certificates"),
        (["garbage", GOOD[1]], "unreadable"),
        (["", GOOD[1]], "unreadable"),
        ([GOOD[0], "garbage"], "unreadable"),
        (CA.answer(Request(CLIENT).csr_pem), "another key"),
        (CA.answer(Request(SERVER).csr_pem), "issued for .*/sa/server, asked for .*/sa/client"),
        ([pem(CA.leaf(own_key(), URI, ca=True)), GOOD[1]], "CA's"),
        ([pem(CA.leaf(own_key(), [*URI, *URI])), GOOD[1]], "2 URI names"),
        ([pem(CA.leaf(own_key(), [])), GOOD[1]], "no subject alternative name"),
        (CA.answer(REQUEST.csr_pem, starts=timedelta(hours=1)), "ahead of this node's clock"),
        (CA.answer(REQUEST.csr_pem, starts=timedelta(hours=-2), life=timedelta(hours=1)), "expired at"),
        ([GOOD[0], pem(OTHER.root)], "does not end in a root"),
        ([pem(LOW.leaf(own_key(), URI)), GOOD[1]], "does not end in a root"),
        ([pem(LOW.leaf(own_key(), URI)), pem(LOW.root), GOOD[1]], "does not end in a root"),
        ([pem(LATE.leaf(own_key(), URI)), pem(LATE.root), GOOD[1]], "'CN=late' is valid from"),
        ([pem(LATE_ROOT.leaf(own_key(), URI)), pem(LATE_ROOT.root)], "'CN=late root' is valid from"),
        ([pem(NO_CA.leaf(own_key(), URI)), pem(NO_CA.root), GOOD[1]], "'CN=no ca' is no authority"),
        ([pem(NO_CA.leaf(own_key(), URI)), pem(NO_CA.root)], "does not end in a root"),
        ([GOOD[0], GOOD[0]], "does not end in a root"),
        ([GOOD[0], *[GOOD[1]] * 20], "more than is sane"),
        ([GOOD[0] + "x" * 300_000, GOOD[1]], "more than is sane"),
        (
            [pem(CA.leaf(rsa.generate_private_key(65537, 2048).public_key(), URI)), GOOD[1]],
            "another key",
        ),
    ],
)
def test_other_answers_are_refused(answer: list[str], why: str) -> None:
    with pytest.raises(InvalidChain, match=why):
        REQUEST.accept(answer, now=time.time())


def test_a_certificate_shows_no_key() -> None:
    """T42, I8."""
    found = REQUEST.accept(GOOD, now=time.time())

    assert b"PRIVATE KEY" in found.key_pem
    assert "PRIVATE" not in repr(found)
    assert "key_pem" not in repr(found)
