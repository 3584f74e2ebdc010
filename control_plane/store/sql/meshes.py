"""MeshPolicies, their revisions, and which was in effect when, in SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import RowMapping, and_, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bartizan.errors import Conflict
from control_plane.store.base import InEffectRow, MeshPublicationRow, Origin, PolicyRow, RevisionRow
from control_plane.store.sql.changes_lock import hold_changes
from control_plane.store.sql.tables import MESH_POLICIES, MESH_PUBLICATIONS, MESH_REVISIONS


class SqlMeshes:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get(self, name: str) -> PolicyRow | None:
        found = await self._connection.execute(select(MESH_POLICIES).where(MESH_POLICIES.c.name == name))
        row = found.mappings().one_or_none()
        return _policy(row) if row is not None else None

    async def all(self) -> Sequence[PolicyRow]:
        found = await self._connection.execute(
            select(MESH_POLICIES).where(MESH_POLICIES.c.deleted_at.is_(None)).order_by(MESH_POLICIES.c.name)
        )
        return [_policy(row) for row in found.mappings()]

    async def add_revision(self, row: RevisionRow, *, origin: Origin) -> None:
        """Also brings a deleted one back: its numbers and versions go on rising."""
        known = await self._connection.execute(
            update(MESH_POLICIES)
            .where(MESH_POLICIES.c.name == row.policy)
            .values(revision=row.number, deleted_at=None, origin=origin)
        )
        if known.rowcount == 0:
            await self._connection.execute(
                insert(MESH_POLICIES).values(
                    name=row.policy,
                    revision=row.number,
                    version=0,
                    created_at=row.created_at,
                    created_by=row.author,
                    origin=origin,
                )
            )
        await self._connection.execute(
            insert(MESH_REVISIONS).values({name: getattr(row, name) for name in row.__dataclass_fields__})
        )

    async def revision(self, name: str, number: int) -> RevisionRow | None:
        found = await self._connection.execute(
            select(MESH_REVISIONS).where(MESH_REVISIONS.c.policy == name, MESH_REVISIONS.c.number == number)
        )
        row = found.mappings().one_or_none()
        return RevisionRow(**row) if row is not None else None

    async def revisions(self, name: str, *, limit: int = 200) -> Sequence[RevisionRow]:
        """Newest first."""
        found = await self._connection.execute(
            select(MESH_REVISIONS)
            .where(MESH_REVISIONS.c.policy == name)
            .order_by(MESH_REVISIONS.c.number.desc())
            .limit(limit)
        )
        return [RevisionRow(**row) for row in found.mappings()]

    async def publish(self, row: MeshPublicationRow) -> None:
        await self._connection.execute(
            update(MESH_POLICIES).where(MESH_POLICIES.c.name == row.policy).values(version=row.version)
        )
        await self._connection.execute(
            insert(MESH_PUBLICATIONS).values({name: getattr(row, name) for name in row.__dataclass_fields__})
        )

    async def publications(self, name: str, *, limit: int = 200) -> Sequence[MeshPublicationRow]:
        """Newest first."""
        found = await self._connection.execute(
            select(MESH_PUBLICATIONS)
            .where(MESH_PUBLICATIONS.c.policy == name)
            .order_by(MESH_PUBLICATIONS.c.version.desc())
            .limit(limit)
        )
        return [MeshPublicationRow(**row) for row in found.mappings()]

    async def in_effect(self) -> Sequence[InEffectRow]:
        newest = (
            select(MESH_PUBLICATIONS.c.policy, func.max(MESH_PUBLICATIONS.c.version).label("version"))
            .group_by(MESH_PUBLICATIONS.c.policy)
            .subquery()
        )
        published, revisions = MESH_PUBLICATIONS, MESH_REVISIONS
        found = await self._connection.execute(
            select(
                MESH_POLICIES.c.name,
                literal("").label("namespace"),
                published.c.revision,
                published.c.version,
                revisions.c.document,
            )
            .join(newest, newest.c.policy == MESH_POLICIES.c.name)
            .join(
                published,
                and_(published.c.policy == MESH_POLICIES.c.name, published.c.version == newest.c.version),
            )
            .join(
                revisions,
                and_(revisions.c.policy == MESH_POLICIES.c.name, revisions.c.number == published.c.revision),
            )
            .where(MESH_POLICIES.c.deleted_at.is_(None))
            .order_by(MESH_POLICIES.c.name)
        )
        return [InEffectRow(**row) for row in found.mappings()]

    async def hold(self, seen: Mapping[str, int]) -> None:
        await hold_changes(self._connection)
        if {row.name: row.version for row in await self.in_effect()} != seen:
            raise Conflict("MeshPolicies were changed by somebody else meanwhile; try again")

    async def delete(self, name: str, *, at: float) -> None:
        await self._connection.execute(
            update(MESH_POLICIES)
            .where(MESH_POLICIES.c.name == name, MESH_POLICIES.c.deleted_at.is_(None))
            .values(deleted_at=at)
        )


def _policy(row: RowMapping) -> PolicyRow:
    return PolicyRow(**row, namespace="")
