"""Signed bundles: nothing but the exact bytes signed by a known key, and never an older version."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

from bartizan.errors import BartizanError, InvalidInput, ResourceRejected, RolledBack, SignatureInvalid
from bartizan.policy.bundle import SCHEMA_VERSION, Bundle, EnvoyResources, GuardModel, GuardPlan
from bartizan.policy.canonical import canonical, plan_hash
from bartizan.policy.signing import LocalSigner, key_id, verify_bundle


@dataclass(frozen=True, slots=True)
class Message:
    name: str
    payload: bytes
    key_id: str
    signature: bytes


def _pem(key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


SIGNER = LocalSigner(_pem(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))))
KEYS = {SIGNER.key_id: SIGNER.public_key}
BUNDLE = Bundle(
    schema_version=SCHEMA_VERSION,
    policy="prod/sentiment",
    revision=3,
    version=7,
    issued_at="2026-11-01T12:00:00Z",
    envoy=EnvoyResources(listeners=({"@type": "t", "name": "bartizan"},)),
    plan=GuardPlan(
        id="3.7",
        policy="prod/sentiment",
        revision=3,
        model=GuardModel(name="sentiment", protocol="json_fields", labels={"b": "2", "a": "1"}),
        tenants=("acme",),
    ),
    listener_address="127.0.0.1",
    listener_port=8443,
)


def _signed(payload: bytes, name: str = "prod/sentiment") -> Message:
    return Message(name, payload, SIGNER.key_id, SIGNER.sign(payload))


GOOD = _signed(canonical(BUNDLE))


def test_a_good_bundle_comes_back_as_it_was_signed() -> None:
    assert verify_bundle(GOOD, KEYS) == BUNDLE


def test_canonical_bytes_do_not_depend_on_the_order_of_keys() -> None:
    one = GuardModel(name="m", protocol="opaque", labels={"a": "1", "b": "2"})
    other = GuardModel(name="m", protocol="opaque", labels={"b": "2", "a": "1"})
    assert canonical(one) == canonical(other)


def test_the_plan_hash_survives_transport_and_tells_plans_apart() -> None:
    received = verify_bundle(GOOD, KEYS)
    assert plan_hash(received.plan) == plan_hash(BUNDLE.plan)
    assert plan_hash(msgspec.structs.replace(BUNDLE.plan, tenants=("globex",))) != plan_hash(BUNDLE.plan)


@given(st.integers(0, len(GOOD.payload) - 1), st.integers(1, 255))
def test_any_flipped_byte_of_the_payload_is_refused(position: int, flip: int) -> None:
    payload = bytearray(GOOD.payload)
    payload[position] ^= flip
    with pytest.raises(SignatureInvalid):
        verify_bundle(dataclasses.replace(GOOD, payload=bytes(payload)), KEYS)


@given(st.integers(0, 63), st.integers(1, 255))
def test_any_flipped_byte_of_the_signature_is_refused(position: int, flip: int) -> None:
    signature = bytearray(GOOD.signature)
    signature[position] ^= flip
    with pytest.raises(SignatureInvalid):
        verify_bundle(dataclasses.replace(GOOD, signature=bytes(signature)), KEYS)


@given(st.binary(max_size=80))
def test_no_other_bytes_pass_as_a_signature(signature: bytes) -> None:
    with pytest.raises(SignatureInvalid):
        verify_bundle(dataclasses.replace(GOOD, signature=signature), KEYS)


def test_an_unknown_key_is_refused() -> None:
    other = LocalSigner(_pem(ed25519.Ed25519PrivateKey.generate()))
    with pytest.raises(SignatureInvalid, match="does not know"):
        verify_bundle(GOOD, {other.key_id: other.public_key})


def test_a_key_under_the_wrong_id_is_refused() -> None:
    other = LocalSigner(_pem(ed25519.Ed25519PrivateKey.generate()))
    forged = Message(GOOD.name, GOOD.payload, SIGNER.key_id, other.sign(GOOD.payload))
    with pytest.raises(SignatureInvalid):
        verify_bundle(forged, {SIGNER.key_id: other.public_key})


def test_a_signature_without_the_domain_prefix_is_refused() -> None:
    bare = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))).sign(GOOD.payload)
    with pytest.raises(SignatureInvalid):
        verify_bundle(dataclasses.replace(GOOD, signature=bare), KEYS)


def test_a_bundle_under_another_policys_name_is_refused() -> None:
    with pytest.raises(SignatureInvalid, match="prod/other"):
        verify_bundle(dataclasses.replace(GOOD, name="prod/other"), KEYS)


@pytest.mark.parametrize(("newest_seen", "taken"), [(0, True), (6, True), (7, True), (8, False)])
def test_versions_never_go_back(newest_seen: int, taken: bool) -> None:
    if taken:
        assert verify_bundle(GOOD, KEYS, newest_seen).version == 7
    else:
        with pytest.raises(RolledBack):
            verify_bundle(GOOD, KEYS, newest_seen)


def test_a_newer_schema_is_refused_before_its_fields_are_read() -> None:
    future = b'{"schema_version":%d,"something_new":{}}' % (SCHEMA_VERSION + 1)
    with pytest.raises(ResourceRejected, match="schema version"):
        verify_bundle(_signed(future), KEYS)


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b'{"schema_version":1}', b'{"schema_version":"\xff"}'])
def test_signed_nonsense_is_refused_without_a_fault(payload: bytes) -> None:
    with pytest.raises(ResourceRejected):
        verify_bundle(_signed(payload), KEYS)


@given(st.binary(max_size=64))
def test_unsigned_bytes_never_reach_a_decoder(payload: bytes) -> None:
    with pytest.raises(SignatureInvalid):
        verify_bundle(Message("prod/sentiment", payload, SIGNER.key_id, bytes(64)), KEYS)


def test_the_key_id_is_the_start_of_the_hash_of_the_raw_key() -> None:
    assert key_id(bytes(32)) == "66687aadf862bd77"


@pytest.mark.parametrize("pem", [b"", b"canary-4f1c", _pem(ec.generate_private_key(ec.SECP256R1()))])
def test_what_is_no_ed25519_key_is_refused_without_showing_it(pem: bytes) -> None:
    with pytest.raises(InvalidInput) as refusal:
        LocalSigner(pem)
    assert "canary" not in str(refusal.value)
    assert isinstance(refusal.value, BartizanError)
