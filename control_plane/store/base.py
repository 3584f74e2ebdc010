"""What the control plane remembers: rows as dataclasses and the ports through which everything else reads and writes.

A `Store` gives units of work; everything done in one `begin()` block is one transaction, so an act and the
record of who did it stand or fall together. The one implementation is control_plane/store/sql.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from bartizan.policy.keyset import KeyRecord, KeySet


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRow:
    """A policy by its qualified name. `version` 0: never published."""

    name: str
    namespace: str
    revision: int
    version: int
    created_at: float
    created_by: str
    deleted_at: float | None = None


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
class PublicationRow:
    """What was published; `bundle` is the serialized SignedBundle message."""

    policy: str
    version: int
    revision: int
    bundle: bytes
    key_id: str
    plan_hash: str
    published_at: float
    published_by: str


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


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRow:
    """One attested sidecar; `removed_at` set means it may not renew."""

    instance_id: str
    spiffe_id: str
    namespace: str
    labels: Mapping[str, str]
    created_at: float
    removed_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRow:
    """The newest report of an instance; `report` is the serialized InstanceReport message."""

    instance_id: str
    boot_id: str
    sequence: int
    received_at: float
    report: bytes


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
    """A decision or gap as received; `json` is the record's canonical JSON text."""

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
    limit: int = 100
    before: tuple[float, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminEvent:
    """Who did what to which thing. `detail` holds only names and numbers, never values."""

    time: float
    actor: str
    act: str
    target: str
    detail: Mapping[str, object] = field(default_factory=dict)
    request_id: str = ""
    peer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRow:
    """Who may act alone until `expires_at`; `fence` rises with every change of holder."""

    name: str
    holder: str
    fence: int
    expires_at: float


class PolicyStore(Protocol):
    """Policies, their revisions and their publications."""

    async def get(self, name: str) -> PolicyRow | None: ...
    async def all(self, *, namespace: str = "", deleted: bool = False) -> Sequence[PolicyRow]: ...
    async def add_revision(self, row: RevisionRow, *, namespace: str) -> None: ...
    async def revision(self, policy: str, number: int) -> RevisionRow | None: ...
    async def revisions(self, policy: str, *, limit: int = 200) -> Sequence[RevisionRow]: ...
    async def take_version(self, policy: str) -> int: ...
    async def add_publication(self, row: PublicationRow) -> None: ...
    async def publication(self, policy: str, version: int) -> PublicationRow | None: ...
    async def publications(self, policy: str, *, limit: int = 200) -> Sequence[PublicationRow]: ...
    async def published(self) -> Sequence[PublicationRow]:
        """The newest publication of every policy that is not deleted."""
        ...

    async def delete(self, name: str, *, at: float) -> None: ...


class KeySetStore(Protocol):
    """API-key sets: hashes and records. Every change makes a new version of the set."""

    async def ensure(self, name: str, *, at: float, by: str) -> bool: ...
    async def names(self) -> Sequence[str]: ...
    async def get(self, name: str) -> KeySet | None: ...
    async def keys(self, name: str) -> Sequence[KeyRow]: ...
    async def add_key(self, row: KeyRow) -> int: ...
    async def revoke(self, name: str, key_id: str, *, at: float, by: str) -> int | None: ...


class AdminTokenStore(Protocol):
    async def add(self, row: AdminTokenRow) -> None: ...
    async def by_hash(self, digest: str) -> AdminTokenRow | None: ...
    async def all(self) -> Sequence[AdminTokenRow]: ...
    async def touch(self, token_id: str, *, at: float) -> None: ...
    async def revoke(self, token_id: str, *, at: float) -> bool: ...


class JoinTokenStore(Protocol):
    async def add(self, row: JoinTokenRow) -> None: ...
    async def spend(self, digest: str, *, at: float) -> JoinTokenRow | None:
        """Marks the token used and returns it; None when unknown, used or expired. At most one caller wins."""
        ...

    async def purge(self, *, before: float) -> int: ...


class InstanceStore(Protocol):
    async def add(self, row: InstanceRow) -> None: ...
    async def get(self, instance_id: str) -> InstanceRow | None: ...
    async def all(self, *, removed: bool = False) -> Sequence[InstanceRow]: ...
    async def remove(self, instance_id: str, *, at: float) -> bool: ...
    async def put_report(self, row: ReportRow) -> None: ...
    async def reports(self) -> Sequence[ReportRow]: ...


class SecretStore(Protocol):
    async def put(self, row: SecretRow) -> None: ...
    async def get(self, name: str) -> SecretRow | None: ...
    async def all(self) -> Sequence[SecretRow]: ...
    async def delete(self, name: str) -> bool: ...


class RotationStore(Protocol):
    """The rotation journal."""

    async def load(self, secret: str) -> RotationRow | None: ...
    async def all(self) -> Sequence[RotationRow]: ...
    async def compare_and_set(self, row: RotationRow, expected_version: int) -> bool:
        """Store `row` if the stored version is `expected_version` (0: no row yet). False: somebody else was first.

        `row.version` is what the row has afterwards and must be greater than expected_version.
        """
        ...


class AuditStore(Protocol):
    async def add(self, rows: Sequence[AuditRow]) -> int:
        """Store those not known yet; returns how many were new."""
        ...

    async def query(self, query: AuditQuery) -> Sequence[AuditRow]:
        """Newest first."""
        ...


class AdminEventStore(Protocol):
    async def record(self, event: AdminEvent) -> None: ...
    async def recent(self, *, limit: int = 100) -> Sequence[AdminEvent]: ...


class LeaseStore(Protocol):
    async def acquire(self, name: str, holder: str, *, now: float, ttl: float) -> LeaseRow | None: ...
    async def release(self, name: str, holder: str) -> None: ...


class Work(Protocol):
    """One transaction."""

    @property
    def policies(self) -> PolicyStore: ...
    @property
    def key_sets(self) -> KeySetStore: ...
    @property
    def tokens(self) -> AdminTokenStore: ...
    @property
    def join_tokens(self) -> JoinTokenStore: ...
    @property
    def instances(self) -> InstanceStore: ...
    @property
    def secrets(self) -> SecretStore: ...
    @property
    def rotations(self) -> RotationStore: ...
    @property
    def audit(self) -> AuditStore: ...
    @property
    def events(self) -> AdminEventStore: ...
    @property
    def leases(self) -> LeaseStore: ...


class Store(Protocol):
    """Opens transactions. Never open one inside another: the second would wait for the first."""

    def begin(self) -> AbstractAsyncContextManager[Work]:
        """Commits at the end of the block, rolls back on any exception.

        Raises DependencyUnavailable when the database can't be reached or stays locked.
        """
        ...

    async def close(self) -> None: ...
