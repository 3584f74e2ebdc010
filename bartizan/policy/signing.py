"""Canonical bytes, signatures and anti-rollback of what travels: bundles (Ed25519) and key sets (ECDSA under the CA).

The control plane signs before publishing; the agent verifies before anything of a message is decoded.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from bartizan.errors import InvalidInput, ResourceRejected, RolledBack, SignatureInvalid
from bartizan.policy.bundle import SCHEMA_VERSION, Bundle
from bartizan.policy.certificates import verify_control_plane_chain
from bartizan.policy.keyset import KeySet

MAX_PAYLOAD_BYTES = 16 * 1024 * 1024
"""Far above any real bundle or key set; bounds what a faulty peer can make us hash and decode."""

_BUNDLE_DOMAIN = b"bartizan.policy.v1.SignedBundle\n"
_KEY_SET_DOMAIN = b"bartizan.identity.v1.KeySet\n"


class SignedMessage(Protocol):
    """What verify_bundle reads of bartizan.policy.v1.SignedBundle."""

    @property
    def name(self) -> str: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def key_id(self) -> str: ...
    @property
    def signature(self) -> bytes: ...


class _Envelope(msgspec.Struct):
    """The one field that every schema version has."""

    schema_version: int


def key_id(raw_public: bytes) -> str:
    """The id of a verification key: the first 16 hex digits of the SHA-256 of its 32 raw bytes."""
    return hashlib.sha256(raw_public).hexdigest()[:16]


def signing_input(payload: bytes) -> bytes:
    """What a bundle's signature covers; the prefix keeps it from being valid for anything else."""
    return _BUNDLE_DOMAIN + payload


def key_set_input(payload: bytes) -> bytes:
    """What a key set's signature covers."""
    return _KEY_SET_DOMAIN + payload


class LocalSigner:
    """Signs bundles with an Ed25519 key held in this process (tests, external signing, one machine)."""

    def __init__(self, private_key_pem: bytes) -> None:
        """Raises InvalidInput when the PEM holds no unencrypted Ed25519 private key; the message never shows it."""
        try:
            key = serialization.load_pem_private_key(private_key_pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise InvalidInput("the signing key is no unencrypted PEM private key") from None
        if not isinstance(key, ed25519.Ed25519PrivateKey):
            raise InvalidInput("the signing key is no Ed25519 key")
        self._key = key
        self.public_key = key.public_key().public_bytes_raw()
        self.key_id = key_id(self.public_key)

    def sign(self, payload: bytes) -> bytes:
        """The 64-byte signature of signing_input(payload)."""
        return self._key.sign(signing_input(payload))


def verify_bundle(message: SignedMessage, keys: Mapping[str, bytes], newest_seen: int = 0) -> Bundle:
    """The bundle inside a signed message.

    keys maps key ids to raw Ed25519 public keys; newest_seen is the highest version taken so far (the same version
    is welcome again). Raises SignatureInvalid, RolledBack, or ResourceRejected when the signature is good but this
    release can't read what was signed.
    """
    _check_size(message.payload)
    public = keys.get(message.key_id)
    if public is None or key_id(public) != message.key_id:
        raise SignatureInvalid("the bundle is signed by a key that this sidecar does not know")
    try:
        verifier = ed25519.Ed25519PublicKey.from_public_bytes(public)
        verifier.verify(message.signature, signing_input(message.payload))
    except (InvalidSignature, ValueError):
        raise SignatureInvalid("the bundle's signature does not match its bytes") from None
    schema_version = _decode(message.payload, _Envelope).schema_version
    if schema_version > SCHEMA_VERSION:
        raise ResourceRejected(
            f"schema_too_new: the bundle has schema version {schema_version}, "
            f"this sidecar reads up to {SCHEMA_VERSION}"
        )
    bundle = _decode(message.payload, Bundle)
    if bundle.policy != message.name:
        raise SignatureInvalid(f"the bundle is for policy {bundle.policy}, not for {message.name}")
    _check_version(bundle.version, newest_seen)
    return bundle


def verify_key_set(
    name: str,
    payload: bytes,
    signature: bytes,
    chain_der: Sequence[bytes],
    roots_pem: Sequence[str],
    trust_domain: str,
    newest_seen: int = 0,
    now: dt.datetime | None = None,
) -> KeySet:
    """The key set inside a message signed by a control plane of this trust domain.

    chain_der is leaf first; `now` (default: the clock) is when the chain must be valid. Raises SignatureInvalid,
    RolledBack, ResourceRejected as verify_bundle does.
    """
    _check_size(payload)
    leaf = verify_control_plane_chain(chain_der, roots_pem, trust_domain, now or dt.datetime.now(dt.UTC))
    public = leaf.public_key()
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
        raise SignatureInvalid("the control plane's certificate holds no P-256 key")
    try:
        public.verify(signature, key_set_input(payload), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise SignatureInvalid("the key set's signature does not match its bytes") from None
    key_set = _decode(payload, KeySet)
    if key_set.name != name:
        raise SignatureInvalid(f"the key set is {key_set.name}, not {name}")
    _check_version(key_set.version, newest_seen)
    return key_set


_T = TypeVar("_T")


def _decode(payload: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(payload, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ResourceRejected(f"unreadable: signed, but not for this release: {error}") from error


def _check_size(payload: bytes) -> None:
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise SignatureInvalid(f"{len(payload)} bytes are more than the {MAX_PAYLOAD_BYTES} allowed")


def _check_version(version: int, newest_seen: int) -> None:
    if version < newest_seen:
        raise RolledBack(f"version {version} is older than version {newest_seen}, which was seen before")
