"""MeshPolicies in SQL: what all kinds have (documents.py), and the watch over what is in effect of them."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy.ext.asyncio import AsyncConnection

from bartizan.errors import Conflict
from control_plane.store.base import MeshPublicationRow
from control_plane.store.sql.changes_lock import hold_changes
from control_plane.store.sql.documents import MESH, SqlDocuments


class SqlMeshes(SqlDocuments[MeshPublicationRow]):
    def __init__(self, connection: AsyncConnection) -> None:
        super().__init__(connection, MESH)

    async def publish(self, row: MeshPublicationRow) -> None:
        await self._publish(row)

    async def hold(self, seen: Mapping[str, int]) -> None:
        await hold_changes(self._connection)
        if await self.heads() != seen:
            raise Conflict("MeshPolicies were changed by somebody else meanwhile; try again")
