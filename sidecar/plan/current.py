"""What a worker knows now: plans by id, verified keys. Changes make a new snapshot; a request keeps the one it began with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bartizan.errors import RolledBack
from bartizan.policy.keyset import KeySet
from sidecar.checks.authn.base import Material
from sidecar.plan.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One consistent view."""

    plans: Mapping[str, Plan] = field(default_factory=dict)
    material: Material = field(default_factory=Material)
    probe_key: bytes = field(default=b"", repr=False)
    instance_id: str = ""


@dataclass(slots=True)
class Current:
    """Holds the newest snapshot; only the worker's channel loop changes it, in one assignment each time."""

    snapshot: Snapshot = field(default_factory=Snapshot)
    _versions: dict[str, int] = field(default_factory=dict)

    def configure(self, *, instance_id: str, probe_key: bytes) -> None:
        self.snapshot = replace(self.snapshot, instance_id=instance_id, probe_key=probe_key)

    def put_plan(self, plan: Plan) -> None:
        """Take a plan beside those already there."""
        self.snapshot = replace(self.snapshot, plans={**self.snapshot.plans, plan.id: plan})

    def drop_plan(self, plan_id: str) -> None:
        """Forget a plan; running requests keep theirs."""
        plans = {name: plan for name, plan in self.snapshot.plans.items() if name != plan_id}
        self.snapshot = replace(self.snapshot, plans=plans)

    def set_keys(self, key_set: KeySet) -> None:
        """Take a newer version of a key set. Raises RolledBack for an older one: a revocation is never forgotten."""
        if key_set.version < self._versions.get(key_set.name, 0):
            raise RolledBack(
                f"key set {key_set.name} at version {key_set.version} is older than the one in use"
            )
        self._versions[key_set.name] = key_set.version
        material = self.snapshot.material
        table = {record.hash: record for record in key_set.keys}
        self.snapshot = replace(
            self.snapshot, material=replace(material, api_keys={**material.api_keys, key_set.name: table})
        )

    def set_jwks(self, issuer: str, document: Mapping[str, Any]) -> None:
        """Replace an issuer's keys. Raises InvalidInput when the document is no JWK Set; the old keys stay then."""
        # brings the libraries of tokens along, which a policy of API keys does not need
        from sidecar.checks.authn.jwt import public_keys

        keys = public_keys(document)
        material = self.snapshot.material
        self.snapshot = replace(
            self.snapshot, material=replace(material, jwks={**material.jwks, issuer: keys})
        )
