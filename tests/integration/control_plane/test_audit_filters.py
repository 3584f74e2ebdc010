"""Searching decisions by the key that asked: those that say it in a column, and older ones, whose text alone does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from control_plane.audit.records import Decision, rows
from control_plane.store.base import AuditQuery, AuditRow
from control_plane.store.sql.store import SqlStore
from tests.support.commands import Commands

KEYS = ("0a1b2c3d4e5f6071", "0a1b", "%", 'a"b', "")


def decisions(*, old: bool) -> list[AuditRow]:
    """One of each key, as a sidecar hands them in."""
    records = [
        msgspec.json.encode(
            Decision(
                id=f"{number:015x}{'f' if old else '0'}",
                time=1_000.0 + number,
                policy="prod/chat",
                revision="1.1",
                source="guard",
                phase="request",
                action="allow",
                cause="allowed",
                status=200,
                key_id=key,
                detail='"key_id":"0a1b"',
            )
        )
        for number, key in enumerate(KEYS)
    ]
    made = rows(records, "i", 2_000.0)
    return [replace(row, key_id=None) for row in made] if old else made


async def found(store: SqlStore, key: str) -> list[str]:
    async with store.begin() as work:
        return sorted(row.id for row in await work.audit.query(AuditQuery(key_id=key)))


async def fill(store: SqlStore) -> None:
    async with store.begin() as work:
        assert await work.audit.add([*decisions(old=False), *decisions(old=True)]) == 2 * len(KEYS)


@pytest.mark.parametrize("key", [key for key in KEYS if key])
async def test_records_of_a_key_are_found_old_and_new(house: Any, key: str) -> None:
    await fill(house.store)
    number = KEYS.index(key)
    assert await found(house.store, key) == [f"{number:015x}0", f"{number:015x}f"]


async def test_the_command_asks_for_one_key(house: Any, commands: Commands) -> None:
    await fill(house.store)
    told = await commands.told("audit", "--key", KEYS[0])
    assert [record["key_id"] for record in told] == [KEYS[0]] * 2
    assert await commands.told("audit", "--key", "none") == []
    mistaken = await commands.run("audit", "--cause", "content-denied")
    assert (mistaken.exit_code, "did you mean content_denied?" in mistaken.stderr) == (0, True)
    assert "warning" not in (await commands.run("audit", "--cause", "waf")).stderr  # there was just none
