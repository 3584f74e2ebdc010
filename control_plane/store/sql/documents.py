"""What policies of both kinds have in common in SQL: revisions, publications, and which of these is in effect.

policies.py and meshes.py add what only theirs have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic

from sqlalchemy import ColumnElement, Table, and_, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bartizan.errors import Conflict
from control_plane.store.base import (
    InEffectRow,
    MeshPublicationRow,
    Origin,
    PolicyRow,
    PublicationHead,
    PublicationRow,
    Published,
    RevisionRow,
)
from control_plane.store.sql.changes_lock import hold_changes
from control_plane.store.sql.tables import (
    MESH_POLICIES,
    MESH_PUBLICATIONS,
    MESH_REVISIONS,
    POLICIES,
    PUBLICATIONS,
    REVISIONS,
)


@dataclass(frozen=True, slots=True)
class Kind(Generic[Published]):
    """Where documents of a kind are kept."""

    policies: Table
    revisions: Table
    publications: Table
    published: type[Published]

    def heads(self) -> list[ColumnElement[Any]]:
        """The columns that lists of publications have."""
        return [self.publications.c[name] for name in self.published.__dataclass_fields__]

    def newest(self) -> ColumnElement[bool]:
        """Of a policy and a publication: that one is in effect, as far as the policy is not deleted."""
        policies, published = self.policies.c, self.publications.c
        return and_(
            published.policy == policies.name,
            published.version == policies.version,
            published.version > policies.withdrawn,
        )


MODEL: Final = Kind(POLICIES, REVISIONS, PUBLICATIONS, PublicationHead)
MESH: Final = Kind(MESH_POLICIES, MESH_REVISIONS, MESH_PUBLICATIONS, MeshPublicationRow)


class SqlDocuments(Generic[Published]):
    """Policies of one kind."""

    def __init__(self, connection: AsyncConnection, kind: Kind[Published]) -> None:
        self._connection = connection
        self._kind = kind

    async def get(self, name: str) -> PolicyRow | None:
        table = self._kind.policies
        found = await self._connection.execute(select(table).where(table.c.name == name))
        row = found.mappings().one_or_none()
        return _policy(row) if row is not None else None

    async def all(self, *, namespace: str = "") -> Sequence[PolicyRow]:
        table = self._kind.policies
        query = select(table).where(table.c.deleted_at.is_(None)).order_by(table.c.name)
        if namespace:
            query = query.where(table.c.namespace == namespace)
        found = await self._connection.execute(query)
        return [_policy(row) for row in found.mappings()]

    async def add_revision(self, row: RevisionRow, *, origin: Origin = "api", namespace: str = "") -> None:
        """Also brings a deleted one back, under a new origin too: its numbers and versions go on rising."""
        table = self._kind.policies
        known = await self._connection.execute(
            update(table)
            .where(table.c.name == row.policy)
            .values(revision=row.number, deleted_at=None, origin=origin)
        )
        if known.rowcount == 0:
            await self._connection.execute(
                insert(table).values(
                    name=row.policy,
                    revision=row.number,
                    version=0,
                    created_at=row.created_at,
                    created_by=row.author,
                    origin=origin,
                    **({"namespace": namespace} if namespace else {}),
                )
            )
        await self._connection.execute(insert(self._kind.revisions).values(**_columns(row)))

    async def revision(self, name: str, number: int) -> RevisionRow | None:
        table = self._kind.revisions
        found = await self._connection.execute(
            select(table).where(table.c.policy == name, table.c.number == number)
        )
        row = found.mappings().one_or_none()
        return RevisionRow(**row) if row is not None else None

    async def revisions(
        self, name: str, *, limit: int = 200, before: int | None = None
    ) -> Sequence[RevisionRow]:
        """Newest first."""
        table = self._kind.revisions
        query = select(table).where(table.c.policy == name).order_by(table.c.number.desc()).limit(limit)
        if before is not None:
            query = query.where(table.c.number < before)
        found = await self._connection.execute(query)
        return [RevisionRow(**row) for row in found.mappings()]

    async def revision_before(self, name: str, number: int) -> int | None:
        table = self._kind.publications.c
        found = await self._connection.execute(
            select(table.revision)
            .where(table.policy == name, table.revision != number)
            .order_by(table.version.desc())
            .limit(1)
        )
        earlier: int | None = found.scalar_one_or_none()
        return earlier

    async def _publish(self, row: PublicationRow | MeshPublicationRow) -> None:
        """Raises Conflict unless its version is the one after the newest: versions never come twice."""
        table = self._kind.policies
        taken = await self._connection.execute(
            update(table)
            .where(table.c.name == row.policy, table.c.version == row.version - 1)
            .values(version=row.version)
        )
        if taken.rowcount == 0:
            raise Conflict(f"{row.policy} was published by somebody else meanwhile; try again")
        await self._connection.execute(insert(self._kind.publications).values(**_columns(row)))

    async def publications(
        self, name: str, *, limit: int = 200, before: int | None = None
    ) -> Sequence[Published]:
        """Newest first; of a policy that was deleted meanwhile those before that, too."""
        kind, table = self._kind, self._kind.publications.c
        query = select(*kind.heads()).where(table.policy == name).order_by(table.version.desc()).limit(limit)
        if before is not None:
            query = query.where(table.version < before)
        found = await self._connection.execute(query)
        return [kind.published(**row) for row in found.mappings()]

    async def published(self, name: str = "") -> Sequence[Published]:
        kind, table = self._kind, self._kind.policies.c
        query = (
            select(*kind.heads())
            .join(kind.policies, kind.newest())
            .where(table.deleted_at.is_(None))
            .order_by(table.name)
        )
        found = await self._connection.execute(query.where(table.name == name) if name else query)
        return [kind.published(**row) for row in found.mappings()]

    async def heads(self) -> Mapping[str, int]:
        table = self._kind.policies.c
        found = await self._connection.execute(
            select(table.name, table.version).where(
                table.deleted_at.is_(None), table.version > table.withdrawn
            )
        )
        return {row.name: row.version for row in found}

    async def in_effect(self) -> Sequence[InEffectRow]:
        kind = self._kind
        policies, published, revisions = kind.policies.c, kind.publications.c, kind.revisions.c
        found = await self._connection.execute(
            select(
                policies.name,
                policies.get("namespace", literal("").label("namespace")),
                published.revision,
                published.version,
                revisions.document,
            )
            .join(kind.publications, kind.newest())
            .join(
                kind.revisions,
                and_(revisions.policy == policies.name, revisions.number == published.revision),
            )
            .where(policies.deleted_at.is_(None))
            .order_by(policies.name)
        )
        return [InEffectRow(**row) for row in found.mappings()]

    async def delete(self, name: str, *, at: float) -> None:
        """Nothing of it is in effect any more, not even when it comes back, until it is published again."""
        # A change of what touches it that is under way on another replica was prepared with it.
        await hold_changes(self._connection)
        table = self._kind.policies
        await self._connection.execute(
            update(table)
            .where(table.c.name == name, table.c.deleted_at.is_(None))
            .values(deleted_at=at, withdrawn=table.c.version)
        )


def _policy(row: Any) -> PolicyRow:
    return PolicyRow(**{"namespace": "", **row})


def _columns(row: RevisionRow | PublicationRow | MeshPublicationRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__dataclass_fields__}
