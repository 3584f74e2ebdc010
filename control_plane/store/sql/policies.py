"""ModelPolicies in SQL: beside what all kinds have (documents.py), what concerns the sidecars that they select."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bartizan.errors import Conflict
from control_plane.store.base import PublicationHead, PublicationRow
from control_plane.store.sql.announce import Note
from control_plane.store.sql.changes_lock import hold_changes
from control_plane.store.sql.documents import MODEL, SqlDocuments
from control_plane.store.sql.tables import POLICIES, PUBLICATIONS, REVISIONS


class SqlPolicies(SqlDocuments[PublicationHead]):
    def __init__(self, connection: AsyncConnection, note: Note) -> None:
        super().__init__(connection, MODEL)
        self._note = note

    async def publish(self, row: PublicationRow) -> None:
        await self._publish(row)
        self._note("policy", row.policy)

    async def publication(self, name: str, version: int) -> PublicationRow | None:
        found = await self._connection.execute(
            select(PUBLICATIONS).where(PUBLICATIONS.c.policy == name, PUBLICATIONS.c.version == version)
        )
        row = found.mappings().one_or_none()
        return PublicationRow(**row) if row is not None else None

    async def delete(self, name: str, *, at: float) -> None:
        await super().delete(name, at=at)
        self._note("policy", name)

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
