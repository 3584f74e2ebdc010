"""What the control plane remembers, row by row, as dataclasses. Times are seconds since the epoch (UTC)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from bartizan.policy.keyset import KeyRecord

Origin = Literal["api", "kubernetes"]
"""Who holds the master copy of a policy's document: this control plane, or a ModelPolicy object of the cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRow:
    """A policy of either kind by its (qualified) name; namespace: "" for a MeshPolicy. version: of its newest
    publication, 0: never published; withdrawn: those up to this one ended when it was deleted.

    origin: where its document is kept and changed; everywhere else it can only be read.
    """

    name: str
    namespace: str
    revision: int
    version: int
    created_at: float
    created_by: str
    deleted_at: float | None = None
    origin: Origin = "api"
    withdrawn: int = 0

    @property
    def published(self) -> int:
        """The version that is in effect, 0: none."""
        return self.version if self.deleted_at is None and self.version > self.withdrawn else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionRow:
    """One immutable revision; `document` is canonical JSON."""

    policy: str
    number: int
    document: str
    digest: str
    author: str
    reason: str
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicationHead:
    """Which revision was published when: all that lists need, because bundles are large."""

    policy: str
    version: int
    revision: int
    plan_hash: str
    published_at: float
    published_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicationRow(PublicationHead):
    """What was published; `bundle` is the serialized SignedBundle message."""

    bundle: bytes
    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InEffectRow:
    """The published revision of a policy and the version under which it travels. namespace: "" for a MeshPolicy."""

    name: str
    namespace: str
    revision: int
    version: int
    document: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshPublicationRow:
    """From when which revision of a MeshPolicy was in effect. What it did to endpoints are publications of theirs."""

    policy: str
    version: int
    revision: int
    published_at: float
    published_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySetRow:
    """A set without its keys. keys: how many are not revoked; cause, changed_at, changed_by: of its version."""

    name: str
    version: int
    keys: int
    cause: str
    changed_at: float
    changed_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """An issued API key: never the key, `record.hash` only."""

    key_set: str
    record: KeyRecord
    created_at: float
    created_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminTokenRow:
    """An admin token. `tenants` limits audit queries; empty means all."""

    id: str
    hash: str
    name: str
    role: str
    tenants: tuple[str, ...]
    created_at: float
    created_by: str
    expires_at: float
    used_at: float | None = None
    revoked_at: float | None = None


JOIN_ID_LENGTH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinTokenRow:
    """A single-use join token, by the hash of its secret part (bartizan.identity.secret_hash)."""

    hash: str
    spiffe_id: str
    labels: Mapping[str, str]
    created_at: float
    created_by: str
    expires_at: float
    used_at: float | None = None

    @property
    def id(self) -> str:
        """What it is called by, without a hint at its secret."""
        return self.hash[:JOIN_ID_LENGTH]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRow:
    """One attested sidecar; `removed_at` set means it may not renew. `pod_uid` is "" outside of Kubernetes."""

    instance_id: str
    spiffe_id: str
    namespace: str
    labels: Mapping[str, str]
    created_at: float
    removed_at: float | None = None
    pod_name: str = ""
    pod_uid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRow:
    """The newest report of an instance; `report` is the serialized InstanceReport message.

    replica: who took it; live: within its lease, as that replica says.
    """

    instance_id: str
    boot_id: str
    sequence: int
    received_at: float
    report: bytes
    replica: str = ""
    live: bool = False


ChangeKind = Literal["policy", "key_set", "instance", "report", "rotation", "everything"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What another replica has written; "everything": something may have been missed."""

    kind: ChangeKind
    names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretRow:
    """A secret's definition (JSON text): where its value lives and how it is made. Never the value."""

    name: str
    definition: str
    created_at: float
    created_by: str
    updated_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationRow:
    """A secret's line in the rotation journal. `state` is the machine's own JSON text."""

    secret: str
    version: int
    intent: str
    phase: str
    state: str
    updated_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """A decision or gap as received; `json` is the record's canonical JSON text. key_id: None where only that says it."""

    id: str
    time: float
    json: str
    type: str = "decision"
    tenant: str = ""
    policy: str = ""
    cause: str = ""
    action: str = ""
    phase: str = ""
    trace_id: str = ""
    source: str = ""
    instance_id: str = ""
    received_at: float = 0.0
    key_id: str | None = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditQuery:
    """All given conditions must hold. `tenants`: None means any. `before`: (time, id) of the last row seen."""

    since: float | None = None
    until: float | None = None
    tenants: tuple[str, ...] | None = None
    policy: str = ""
    cause: str = ""
    action: str = ""
    trace_id: str = ""
    decision_id: str = ""
    key_id: str = ""
    limit: int = 100
    before: tuple[float, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventQuery:
    """All given conditions must hold. `token`: the id of the admin token that acted. `before`: id of the last one seen."""

    since: float | None = None
    until: float | None = None
    act: str = ""
    target: str = ""
    token: str = ""
    limit: int = 100
    before: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminEvent:
    """Who did what to which thing. `detail` holds only names and numbers, never values. The store gives it its id."""

    time: float
    actor: str
    act: str
    target: str
    detail: Mapping[str, object] = field(default_factory=dict)
    request_id: str = ""
    peer: str = ""
    id: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRow:
    """Who may act alone until `expires_at`; `fence` rises with every change of holder."""

    name: str
    holder: str
    fence: int
    expires_at: float
