"""The canonical bytes of what is signed, and the hash of a plan. Without any cryptography: workers need no more."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from bartizan.policy.bundle import GuardPlan


def canonical(value: Any) -> bytes:
    """The one JSON encoding of a value: sorted keys, no white space, defaults omitted."""
    return msgspec.json.encode(value, order="deterministic")


def plan_hash(plan: GuardPlan) -> str:
    """Hex SHA-256 of the plan's canonical bytes: what workers report and probes prove."""
    return hashlib.sha256(canonical(plan)).hexdigest()
