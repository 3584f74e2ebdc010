"""The ports through which everything else reads and writes what the control plane remembers.

A `Store` gives units of work; everything done in one `begin()` block is one transaction, so an act and the
record of who did it stand or fall together. The one implementation is control_plane/store/sql; rows are in rows.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from bartizan.policy.keyset import KeySet
from control_plane.store.policy_stores import DocumentStore, MeshStore, PolicyStore, Published
from control_plane.store.rows import (
    AdminEvent,
    AdminTokenRow,
    AuditQuery,
    AuditRow,
    Change,
    EventQuery,
    InEffectRow,
    InstanceRow,
    JoinTokenRow,
    KeyRow,
    KeySetRow,
    LeaseRow,
    MeshPublicationRow,
    Origin,
    PolicyRow,
    PublicationHead,
    PublicationRow,
    ReportRow,
    RevisionRow,
    RotationRow,
    SecretRow,
)

__all__ = [
    "AdminEvent",
    "AdminEventStore",
    "AdminTokenRow",
    "AdminTokenStore",
    "AuditQuery",
    "AuditRow",
    "AuditStore",
    "Change",
    "DocumentStore",
    "EventQuery",
    "InEffectRow",
    "InstanceRow",
    "InstanceStore",
    "JoinTokenRow",
    "JoinTokenStore",
    "KeyRow",
    "KeySetRow",
    "KeySetStore",
    "LeaseRow",
    "LeaseStore",
    "MeshPublicationRow",
    "MeshStore",
    "Origin",
    "PolicyRow",
    "PolicyStore",
    "PublicationHead",
    "PublicationRow",
    "Published",
    "ReplicaStore",
    "ReportRow",
    "RevisionRow",
    "RotationRow",
    "RotationStore",
    "SecretRow",
    "SecretStore",
    "Store",
    "Work",
]


class KeySetStore(Protocol):
    """API-key sets: hashes and records. Every change makes a new version of the set."""

    async def ensure(self, name: str, *, at: float, by: str) -> bool: ...
    async def rows(self, name: str = "") -> Sequence[KeySetRow]:
        """Of all sets, by name; or of one."""
        ...

    async def versions(self) -> Mapping[str, int]: ...
    async def get(self, name: str) -> KeySet | None: ...
    async def keys(
        self, name: str, *, after: tuple[float, str] | None = None, limit: int | None = None
    ) -> Sequence[KeyRow]:
        """The oldest first. after: time and id of the last one of the page before."""
        ...

    async def add_key(self, row: KeyRow) -> int:
        """The set's new version. Raises NotFound when there is no such set."""
        ...

    async def revoke(self, name: str, key_id: str, *, at: float, by: str) -> int | None: ...


class AdminTokenStore(Protocol):
    async def add(self, row: AdminTokenRow) -> None: ...
    async def by_hash(self, digest: str) -> AdminTokenRow | None: ...
    async def all(self) -> Sequence[AdminTokenRow]: ...
    async def touch(self, token_id: str, *, at: float) -> None: ...
    async def revoke(self, token_id: str, *, at: float) -> bool: ...
    async def offer_bootstrap(self, digest: str, *, at: float) -> bool:
        """Make it known to all replicas; False when it was spent."""
        ...

    async def is_bootstrap(self, digest: str) -> bool: ...
    async def spend_bootstrap(self, *, at: float) -> bool:
        """Ends all that are not spent; False when there is none. At most one caller wins."""
        ...


class JoinTokenStore(Protocol):
    async def add(self, row: JoinTokenRow) -> None: ...
    async def open(self, *, at: float) -> Sequence[JoinTokenRow]:
        """Neither used nor at their end, the newest first."""
        ...

    async def revoke(self, token_id: str, *, at: float) -> bool:
        """False when there is no open one of that id."""
        ...

    async def spend(self, digest: str, *, at: float) -> JoinTokenRow | None:
        """Marks the token used and returns it; None when unknown, used or expired. At most one caller wins."""
        ...

    async def purge(self, *, before: float) -> int: ...


class InstanceStore(Protocol):
    async def add(self, row: InstanceRow) -> None: ...
    async def get(self, instance_id: str) -> InstanceRow | None: ...
    async def all(
        self, *, removed: bool = False, after: tuple[float, str] | None = None, limit: int | None = None
    ) -> Sequence[InstanceRow]:
        """The oldest first. after: time and id of the last one of the page before."""
        ...

    async def ids(self) -> frozenset[str]:
        """Of all that were not removed."""
        ...

    async def of_pod(self, pod_uid: str) -> Sequence[InstanceRow]:
        """Those of one pod that were not removed."""
        ...

    async def remove(self, instance_id: str, *, at: float) -> bool: ...
    async def put_reports(self, rows: Sequence[ReportRow], *, now: float) -> None:
        """Each replaces an older one of its instance; where a newer one stands nothing happens."""
        ...

    async def silence(self, replica: str, instance_ids: Collection[str] | None, *, now: float) -> None:
        """What these (None: all) last told this replica is no longer live. Those that report elsewhere stay."""
        ...

    async def reports(self, *, since: float = 0.0, of: Collection[str] | None = None) -> Sequence[ReportRow]:
        """Of those that were not removed. since: changed at that time or later, by the clock of `now`."""
        ...

    async def purge(self, *, before: float, limit: int) -> int:
        """Forget at most `limit` that were removed before that time; returns how many there were."""
        ...


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

    async def purge(self, *, before: float, limit: int) -> int:
        """Delete at most `limit` of the oldest records from before that time; returns how many there were."""
        ...


class AdminEventStore(Protocol):
    async def record(self, event: AdminEvent) -> None: ...
    async def recent(self, *, limit: int = 100) -> Sequence[AdminEvent]: ...
    async def query(self, query: EventQuery) -> Sequence[AdminEvent]: ...


class ReplicaStore(Protocol):
    """Control planes that share this store."""

    async def beat(self, name: str, *, now: float, life: float, knows_at: float = 0.0) -> None:
        """Alive for `life` seconds from now on, and knows what others wrote before `knows_at`."""
        ...

    async def alive(self, *, now: float) -> frozenset[str]: ...
    async def known(self, *, but: str, since: float) -> float:
        """Up to when all others know what was written; infinite without any that was alive at `since` or later."""
        ...

    async def leave(self, name: str) -> None: ...


class LeaseStore(Protocol):
    async def acquire(self, name: str, holder: str, *, now: float, ttl: float) -> LeaseRow | None: ...
    async def release(self, name: str, holder: str) -> None: ...


class Work(Protocol):
    """One transaction."""

    @property
    def policies(self) -> PolicyStore: ...
    @property
    def meshes(self) -> MeshStore: ...
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
    @property
    def replicas(self) -> ReplicaStore: ...
    async def now(self) -> float:
        """Seconds since the epoch by the store's clock, the same for all replicas."""
        ...


class Store(Protocol):
    """Opens transactions. Never open one inside another: the second would wait for the first."""

    def begin(self) -> AbstractAsyncContextManager[Work]:
        """Commits at the end of the block, rolls back on any exception.

        Raises DependencyUnavailable when the database can't be reached or stays locked.
        """
        ...

    @property
    def shared(self) -> bool:
        """Whether several replicas may use it at the same time."""
        ...

    async def listen(self, tell: Callable[[Change], None]) -> None:
        """Until cancelled: tell what other replicas commit, and "everything" whenever a word may be lost."""
        ...

    async def close(self) -> None: ...
