"""What certificates prove: T31 to T34."""

from __future__ import annotations

import os

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from proxy.identity.peer import IdentityMismatch, leaf_identity, verify_client, verify_server
from proxy.tests.ca import CLIENT, SERVER, Ca

CA = Ca()
KEY = ec.generate_private_key(ec.SECP256R1()).public_key()


def uri(text: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier._init_without_validation(text)


def der(*names: x509.GeneralName, ca: bool = False) -> bytes:
    return CA.leaf(KEY, names, ca=ca).public_bytes(Encoding.DER)


def test_one_spiffe_id_is_an_identity() -> None:
    assert leaf_identity(der(uri(str(CLIENT)))) == CLIENT
    assert leaf_identity(der(x509.DNSName("other.example"), uri(str(CLIENT)))) == CLIENT


@pytest.mark.parametrize(
    ("leaf", "why"),
    [
        (der(), "no subject alternative name"),
        (der(x509.DNSName("client.bench")), "0 URI names"),
        (der(uri(str(CLIENT)), uri(str(SERVER))), "2 URI names"),
        (der(uri("https://foreign.example"), uri(str(CLIENT))), "2 URI names"),
        (der(uri(str(CLIENT)), uri(str(CLIENT))), "2 URI names"),
        (der(uri(str(CLIENT) + "\x00.evil")), "service account"),
        (der(uri(str(CLIENT) + "/")), "not spiffe://"),
        (der(uri("spiffe://cluster.local/ns//sa/")), "namespace"),
        (der(uri(str(CLIENT)), ca=True), "CA's"),
        (b"", "cannot be read"),
        (b"\x30\x03\x02\x01\x01", "cannot be read"),
    ],
)
def test_what_proves_no_identity(leaf: bytes, why: str) -> None:
    with pytest.raises(IdentityMismatch, match=why):
        leaf_identity(leaf)


def test_the_server_must_be_one_of_those_expected() -> None:
    """T32."""
    leaf = der(uri(str(SERVER)))

    assert verify_server(leaf, frozenset({str(CLIENT), str(SERVER)})) == SERVER
    with pytest.raises(IdentityMismatch, match=r"server is .*/sa/server, expected .*/sa/client"):
        verify_server(leaf, frozenset({str(CLIENT)}))
    with pytest.raises(IdentityMismatch, match="expected nobody"):
        verify_server(leaf, frozenset())


def test_the_client_must_be_of_our_trust_domain() -> None:
    """T33, P49: or of one of its aliases; which trust domain was wrong is said."""
    leaf = der(uri(str(CLIENT)))

    assert verify_client(leaf, frozenset({"cluster.local"})) == CLIENT
    assert verify_client(leaf, frozenset({"cluster.local", "old"})) == CLIENT
    with pytest.raises(IdentityMismatch, match=r"trust domain cluster.local, expected new or old \(TRUST"):
        verify_client(leaf, frozenset({"old", "new"}))


GOOD = der(uri(str(CLIENT)))


def test_what_the_library_only_warns_of_is_refused() -> None:
    leaf = CA.leaf(KEY, [uri(str(CLIENT))])
    serial = leaf.serial_number.to_bytes((leaf.serial_number.bit_length() + 8) // 8, "big")
    zeroed = leaf.public_bytes(Encoding.DER).replace(serial, bytes(len(serial)), 1)

    with pytest.raises(IdentityMismatch, match="cannot be read"):
        leaf_identity(zeroed)


@given(position=st.integers(0, len(GOOD) - 1), value=st.integers(0, 255), length=st.integers(0, len(GOOD)))
def test_damaged_certificates_are_refused_or_read(position: int, value: int, length: int) -> None:
    damaged = bytearray(GOOD)
    damaged[position] = value
    for candidate in (bytes(damaged), GOOD[:length], os.urandom(length)):
        try:
            leaf_identity(candidate)
        except IdentityMismatch:
            continue
