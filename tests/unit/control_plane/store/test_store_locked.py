"""A file of SQLite that another process holds: nobody waits for it longer than he wants to."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bartizan import tasks
from bartizan.errors import DependencyUnavailable
from control_plane.store.sql import transaction
from control_plane.store.sql.store import SqlStore, open_store

LEAVES_SECONDS = 3.0
"""Much more than leaving takes, and less than the lock is waited for."""


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlStore]:
    made = await open_store(f"sqlite+aiosqlite:///{tmp_path / 'store.db'}")
    yield made
    await made.close()


@pytest.fixture
def other(store: SqlStore, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    made = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    made.execute("BEGIN EXCLUSIVE")
    yield made
    made.close()


async def read(store: SqlStore) -> None:
    async with store.begin() as work:
        await work.policies.published()


async def test_who_is_cancelled_leaves_at_once_and_so_does_who_waits_behind(
    store: SqlStore, other: sqlite3.Connection
) -> None:
    async with asyncio.TaskGroup() as group:
        callers = [tasks.start(group, read(store), name=f"caller-{number}") for number in range(3)]
        await asyncio.sleep(0.2)  # the first waits for the lock, the others for the first
        async with asyncio.timeout(LEAVES_SECONDS):
            await tasks.cancel(callers[0], callers[2])
        assert not callers[1].done()
        other.execute("ROLLBACK")
        await callers[1]
    await read(store)


async def test_a_file_that_stays_locked_is_told(
    store: SqlStore, other: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction, "LOCKED_SECONDS", 0.0)
    with pytest.raises(DependencyUnavailable, match="does not answer"):
        await read(store)
    other.execute("ROLLBACK")
    await read(store)


async def test_who_waits_too_long_for_others_is_told(
    store: SqlStore, other: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction, "TURN_SECONDS", 0.0)
    async with asyncio.TaskGroup() as group:
        first = tasks.start(group, read(store), name="first")
        await asyncio.sleep(0.05)
        with pytest.raises(DependencyUnavailable, match="too busy"):
            await read(store)
        other.execute("ROLLBACK")
        await first


async def test_a_lock_that_ends_is_waited_for_also_while_a_store_is_opened(
    store: SqlStore, other: sqlite3.Connection, tmp_path: Path
) -> None:
    async with asyncio.TaskGroup() as group:
        url = f"sqlite+aiosqlite:///{tmp_path / 'store.db'}"
        opening = tasks.start(group, open_store(url), name="opening")
        await asyncio.sleep(0.5)
        assert not opening.done()
        other.execute("ROLLBACK")
        await (await opening).close()


async def test_what_waited_for_the_lock_is_undone_whole_where_it_fails(
    store: SqlStore, other: sqlite3.Connection
) -> None:
    async def take(holder: str, *, fail: bool) -> bool:
        async with store.begin() as work:
            taken = await work.leases.acquire("rotation", holder, now=1.0, ttl=600.0)
            if fail:
                raise ZeroDivisionError
            return taken is not None

    asyncio.get_running_loop().call_later(0.3, other.execute, "ROLLBACK")  # it has tried by then
    with pytest.raises(ZeroDivisionError):
        await take("a", fail=True)
    assert await take("b", fail=False)
