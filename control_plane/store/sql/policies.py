"""Policies, revisions and publications in SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import RowMapping, and_, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bartizan.errors import Conflict, NotFound
from control_plane.store.base import InEffectRow, Origin, PolicyRow, PublicationRow, RevisionRow
from control_plane.store.sql.announce import Note
from control_plane.store.sql.changes_lock import hold_changes
from control_plane.store.sql.tables import POLICIES, PUBLICATIONS, REVISIONS


class SqlPolicies:
    def __init__(self, connection: AsyncConnection, note: Note) -> None:
        self._connection = connection
        self._note = note

    async def get(self, name: str) -> PolicyRow | None:
        found = await self._connection.execute(select(POLICIES).where(POLICIES.c.name == name))
        row = found.mappings().one_or_none()
        return PolicyRow(**row) if row is not None else None

    async def all(self, *, namespace: str = "", deleted: bool = False) -> Sequence[PolicyRow]:
        query = select(POLICIES).order_by(POLICIES.c.name)
        if namespace:
            query = query.where(POLICIES.c.namespace == namespace)
        if not deleted:
            query = query.where(POLICIES.c.deleted_at.is_(None))
        found = await self._connection.execute(query)
        return [PolicyRow(**row) for row in found.mappings()]

    async def add_revision(self, row: RevisionRow, *, namespace: str, origin: Origin = "api") -> None:
        """Also brings a deleted policy back, under a new origin too: its numbers and versions go on rising."""
        known = await self._connection.execute(
            update(POLICIES)
            .where(POLICIES.c.name == row.policy)
            .values(revision=row.number, deleted_at=None, origin=origin)
        )
        if known.rowcount == 0:
            await self._connection.execute(
                insert(POLICIES).values(
                    name=row.policy,
                    namespace=namespace,
                    revision=row.number,
                    version=0,
                    created_at=row.created_at,
                    created_by=row.author,
                    origin=origin,
                )
            )
        await self._connection.execute(insert(REVISIONS).values(**_columns(row)))

    async def revision(self, policy: str, number: int) -> RevisionRow | None:
        found = await self._connection.execute(
            select(REVISIONS).where(REVISIONS.c.policy == policy, REVISIONS.c.number == number)
        )
        row = found.mappings().one_or_none()
        return RevisionRow(**row) if row is not None else None

    async def revisions(self, policy: str, *, limit: int = 200) -> Sequence[RevisionRow]:
        found = await self._connection.execute(
            select(REVISIONS)
            .where(REVISIONS.c.policy == policy)
            .order_by(REVISIONS.c.number.desc())
            .limit(limit)
        )
        return [RevisionRow(**row) for row in found.mappings()]

    async def take_version(self, policy: str) -> int:
        """The next version of this policy; taken versions are never given again once committed."""
        done = await self._connection.execute(
            update(POLICIES).where(POLICIES.c.name == policy).values(version=POLICIES.c.version + 1)
        )
        if done.rowcount == 0:
            raise NotFound(f"no policy {policy}")
        found = await self._connection.execute(select(POLICIES.c.version).where(POLICIES.c.name == policy))
        return int(found.scalar_one())

    async def add_publication(self, row: PublicationRow) -> None:
        await self._connection.execute(insert(PUBLICATIONS).values(**_columns(row)))
        self._note("policy", row.policy)

    async def publication(self, policy: str, version: int) -> PublicationRow | None:
        found = await self._connection.execute(
            select(PUBLICATIONS).where(PUBLICATIONS.c.policy == policy, PUBLICATIONS.c.version == version)
        )
        row = found.mappings().one_or_none()
        return _publication(row) if row is not None else None

    async def publications(self, policy: str, *, limit: int = 200) -> Sequence[PublicationRow]:
        found = await self._connection.execute(
            select(PUBLICATIONS)
            .where(PUBLICATIONS.c.policy == policy)
            .order_by(PUBLICATIONS.c.version.desc())
            .limit(limit)
        )
        return [_publication(row) for row in found.mappings()]

    async def heads(self) -> Mapping[str, int]:
        found = await self._connection.execute(
            select(PUBLICATIONS.c.policy, func.max(PUBLICATIONS.c.version).label("version"))
            .join(POLICIES, POLICIES.c.name == PUBLICATIONS.c.policy)
            .where(POLICIES.c.deleted_at.is_(None))
            .group_by(PUBLICATIONS.c.policy)
        )
        return {row.policy: row.version for row in found}

    async def published(self) -> Sequence[PublicationRow]:
        newest = (
            select(PUBLICATIONS.c.policy, func.max(PUBLICATIONS.c.version).label("version"))
            .join(POLICIES, POLICIES.c.name == PUBLICATIONS.c.policy)
            .where(POLICIES.c.deleted_at.is_(None))
            .group_by(PUBLICATIONS.c.policy)
            .subquery()
        )
        found = await self._connection.execute(
            select(PUBLICATIONS)
            .join(
                newest,
                and_(PUBLICATIONS.c.policy == newest.c.policy, PUBLICATIONS.c.version == newest.c.version),
            )
            .order_by(PUBLICATIONS.c.policy)
        )
        return [_publication(row) for row in found.mappings()]

    async def current_documents(self, namespace: str) -> Sequence[tuple[str, str]]:
        newest = (
            select(PUBLICATIONS.c.policy, func.max(PUBLICATIONS.c.version).label("version"))
            .group_by(PUBLICATIONS.c.policy)
            .subquery()
        )
        published = (
            select(PUBLICATIONS.c.policy, PUBLICATIONS.c.revision)
            .join(
                newest,
                and_(PUBLICATIONS.c.policy == newest.c.policy, PUBLICATIONS.c.version == newest.c.version),
            )
            .subquery()
        )
        found = await self._connection.execute(
            select(POLICIES.c.name, REVISIONS.c.document)
            .join(REVISIONS, REVISIONS.c.policy == POLICIES.c.name)
            .join(published, published.c.policy == POLICIES.c.name, isouter=True)
            .where(
                POLICIES.c.namespace == namespace,
                POLICIES.c.deleted_at.is_(None),
                or_(
                    REVISIONS.c.number == POLICIES.c.revision,
                    REVISIONS.c.number == published.c.revision,
                ),
            )
        )
        return [(row.name, row.document) for row in found]

    async def in_effect(self) -> Sequence[InEffectRow]:
        newest = (
            select(PUBLICATIONS.c.policy, func.max(PUBLICATIONS.c.version).label("version"))
            .group_by(PUBLICATIONS.c.policy)
            .subquery()
        )
        found = await self._connection.execute(
            select(
                POLICIES.c.name,
                POLICIES.c.namespace,
                PUBLICATIONS.c.revision,
                PUBLICATIONS.c.version,
                REVISIONS.c.document,
            )
            .join(newest, newest.c.policy == POLICIES.c.name)
            .join(
                PUBLICATIONS,
                and_(PUBLICATIONS.c.policy == POLICIES.c.name, PUBLICATIONS.c.version == newest.c.version),
            )
            .join(
                REVISIONS,
                and_(REVISIONS.c.policy == POLICIES.c.name, REVISIONS.c.number == PUBLICATIONS.c.revision),
            )
            .where(POLICIES.c.deleted_at.is_(None))
            .order_by(POLICIES.c.name)
        )
        return [InEffectRow(**row) for row in found.mappings()]

    async def delete(self, name: str, *, at: float) -> None:
        await self._connection.execute(
            update(POLICIES)
            .where(POLICIES.c.name == name, POLICIES.c.deleted_at.is_(None))
            .values(deleted_at=at)
        )
        self._note("policy", name)

    async def alone(self, namespace: str, others: Sequence[tuple[str, str]]) -> None:
        await hold_changes(self._connection)
        if sorted(await self.current_documents(namespace)) != sorted(others):
            raise Conflict(f"policies of {namespace} were changed by somebody else meanwhile; try again")


def _publication(row: RowMapping) -> PublicationRow:
    return PublicationRow(**{**row, "bundle": bytes(row["bundle"])})


def _columns(row: RevisionRow | PublicationRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__dataclass_fields__}
