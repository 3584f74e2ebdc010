"""ModelPolicies in SQL: beside what all kinds have (documents.py), what concerns the sidecars that they select."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bartizan.errors import Conflict
from control_plane.store.base import PublicationRow
from control_plane.store.sql.announce import Note
from control_plane.store.sql.changes_lock import hold_changes
from control_plane.store.sql.documents import MODEL, SqlDocuments
from control_plane.store.sql.tables import POLICIES, PUBLICATIONS, REVISIONS


class SqlPolicies(SqlDocuments[PublicationRow]):
    def __init__(self, connection: AsyncConnection, note: Note) -> None:
        super().__init__(connection, MODEL)
        self._note = note

    async def publish(self, row: PublicationRow) -> None:
        await super().publish(row)
        self._note("policy", row.policy)

    async def delete(self, name: str, *, at: float) -> None:
        await super().delete(name, at=at)
        self._note("policy", name)

    async def heads(self) -> Mapping[str, int]:
        found = await self._connection.execute(
            select(POLICIES.c.name, POLICIES.c.version).where(
                POLICIES.c.deleted_at.is_(None), POLICIES.c.version > POLICIES.c.withdrawn
            )
        )
        return {row.name: row.version for row in found}

    async def current_documents(self, namespace: str) -> Sequence[tuple[str, str]]:
        found = await self._connection.execute(
            select(POLICIES.c.name, REVISIONS.c.document)
            .join(REVISIONS, REVISIONS.c.policy == POLICIES.c.name)
            .join(PUBLICATIONS, MODEL.newest(), isouter=True)
            .where(
                POLICIES.c.namespace == namespace,
                POLICIES.c.deleted_at.is_(None),
                or_(
                    REVISIONS.c.number == POLICIES.c.revision,
                    REVISIONS.c.number == PUBLICATIONS.c.revision,
                ),
            )
        )
        return [(row.name, row.document) for row in found]

    async def alone(self, namespace: str, others: Sequence[tuple[str, str]]) -> None:
        await hold_changes(self._connection)
        if sorted(await self.current_documents(namespace)) != sorted(others):
            raise Conflict(f"policies of {namespace} were changed by somebody else meanwhile; try again")
