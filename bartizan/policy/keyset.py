"""API-key sets as they travel to sidecars: records and SHA-256 hashes, never keys."""

from __future__ import annotations

import hashlib
import secrets

import msgspec

KEY_PREFIX = "bzk_"


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One key. `hash` is the hex SHA-256 of the whole key string (256 random bits need no slow hash)."""

    id: str
    hash: str
    tenant: str
    plan: str = ""
    region: str = ""
    models: tuple[str, ...] = ()
    expires_at: float | None = None
    """Seconds since the epoch."""
    revoked: bool = False
    """Revoked records stay in the set, so that an old copy of the set can't bring the key back."""


class KeySet(msgspec.Struct, frozen=True, kw_only=True):
    """All keys of one set at one version; versions only rise."""

    name: str
    version: int
    keys: tuple[KeyRecord, ...]


def new_key() -> str:
    """A key of 256 random bits: "bzk_" + 43 characters of base64url."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def key_hash(key: str) -> str:
    """Hex SHA-256 of a key."""
    return hashlib.sha256(key.encode()).hexdigest()
