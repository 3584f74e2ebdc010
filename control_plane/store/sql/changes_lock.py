"""The lock that changes of policies of both kinds take, whichever replica makes them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_KEY: Final = 0x62617275
"""Any number that no other lock of ours has."""


async def hold_changes(connection: AsyncConnection) -> None:
    """Until this transaction ends no other one is past this point."""
    if connection.dialect.name == "postgresql":  # SQLite has one writer at a time anyway
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _KEY})
