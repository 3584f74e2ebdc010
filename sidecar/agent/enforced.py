"""What apply.py holds: the bundle in force with all that belongs to it, and the newest one that was not taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bartizan.policy.bundle import Bundle
from bartizan.xds.snapshot import Resources, Snapshot
from protos.gen.bartizan.policy.v1 import policy_pb2
from sidecar.agent.files import CertificatePair


@dataclass(frozen=True, slots=True, kw_only=True)
class Enforced:
    """What is in force now."""

    bundle: Bundle
    message: policy_pb2.SignedBundle
    plan_hash: str
    resources: Mapping[str, Resources]
    snapshot: Snapshot
    pair: CertificatePair | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The newest bundle that was not taken."""

    version: int
    reason: str
    path: str
