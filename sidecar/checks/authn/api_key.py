"""API keys issued by the control plane, looked up by SHA-256 (256 random bits need no slow hash)."""

from __future__ import annotations

from dataclasses import dataclass, field

from bartizan.policy.keyset import KeyRecord, key_hash
from sidecar.checks.authn.base import Material, Presented, Refused
from sidecar.model.decision import Cause
from sidecar.model.request import Identity

_LONGEST = 128
_MOST_KNOWN = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyAuthenticator:
    """Keys of one set."""

    key_set: str
    _known: dict[str, tuple[KeyRecord, Identity]] = field(default_factory=dict, repr=False)
    """By hash, of good keys: one value for all requests of a key."""

    def authenticate(self, presented: Presented, material: Material, now: float) -> list[Identity | Refused]:
        if len(presented.api_keys) == 1:  # as nearly always
            return [self._one(presented.api_keys[0], material, now)]
        return [self._one(key, material, now) for key in presented.api_keys]

    def _one(self, key: str, material: Material, now: float) -> Identity | Refused:
        records = material.api_keys.get(self.key_set)
        if records is None or len(key) > _LONGEST:
            return Refused(cause=Cause.INVALID_CREDENTIALS)
        hashed = key_hash(key)
        record = records.get(hashed)
        if record is None:
            return Refused(cause=Cause.INVALID_CREDENTIALS)
        if record.revoked:
            return Refused(cause=Cause.REVOKED_CREDENTIALS, whose=_identity(record))
        if record.expires_at is not None and now >= record.expires_at:
            return Refused(cause=Cause.EXPIRED_CREDENTIALS, whose=_identity(record))
        known = self._known.get(hashed)
        if known is not None and known[0] is record:
            return known[1]
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        identity = _identity(record)
        self._known[hashed] = (record, identity)
        return identity


def _identity(record: KeyRecord) -> Identity:
    return Identity(
        subject=record.id,
        tenant=record.tenant,
        method="api_key",
        key_id=record.id,
        plan=record.plan,
        region=record.region,
        models=record.models,
    )
