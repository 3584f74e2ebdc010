"""The store: transactions, rising numbers, single use, compare-and-set, and a schema that equals its migrations."""

from __future__ import annotations

import asyncio
import sqlite3
import traceback
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from bartizan.errors import Conflict, DependencyUnavailable, InvalidInput
from bartizan.policy.keyset import KeyRecord
from control_plane.store.base import (
    AdminEvent,
    JoinTokenRow,
    KeyRow,
    PublicationRow,
    RevisionRow,
    RotationRow,
)
from control_plane.store.sql.store import IN_MEMORY, SqlStore, SqlWork, open_store
from control_plane.store.sql.tables import METADATA


@pytest.mark.parametrize("password", ["sea/cr@t:Hunter2", "sea@cr:Hunter2!"])
async def test_a_url_that_cannot_be_read_is_refused_without_any_part_of_its_password(password: str) -> None:
    with pytest.raises(InvalidInput, match="%2F") as refused:
        await open_store(f"postgresql+asyncpg://bartizan:{password}@db/x")
    assert "Hunter2" not in "".join(traceback.format_exception(refused.value))


def revision(number: int, policy: str = "prod/chat") -> RevisionRow:
    return RevisionRow(
        policy=policy, number=number, document="{}", digest="d", author="a", reason="", created_at=1.0
    )


def publication(version: int, number: int = 1, policy: str = "prod/chat") -> PublicationRow:
    return PublicationRow(
        policy=policy,
        version=version,
        revision=number,
        bundle=b"\x00\xff",
        key_id="k",
        plan_hash="h",
        published_at=2.0,
        published_by="a",
    )


@pytest.mark.parametrize(
    "ask",
    [
        lambda work: work.policies.revision("prod/chat", 2**64),
        lambda work: work.policies.get("\udcff"),
    ],
    ids=["number", "surrogate"],
)
async def test_what_no_column_can_hold_is_the_callers_fault(
    store: SqlStore, ask: Callable[[SqlWork], Awaitable[object]]
) -> None:
    with pytest.raises(InvalidInput):
        async with store.begin() as work:
            await ask(work)


async def test_a_store_whose_new_connections_answer_no_ping_either_is_unavailable() -> None:
    engine = create_async_engine(IN_MEMORY, poolclass=AsyncAdaptedQueuePool)

    @event.listens_for(engine.sync_engine, "checkout")
    def no_answer(*_: object) -> None:
        raise InvalidatePoolError

    with pytest.raises(DependencyUnavailable, match="does not answer") as told:
        async with SqlStore(engine).begin():
            pass
    assert told.value.retry_after == 1.0
    await engine.dispose()


async def test_a_failed_block_leaves_nothing_behind(store: SqlStore) -> None:
    async def fail() -> None:
        async with store.begin() as work:
            await work.policies.add_revision(revision(1), namespace="prod")
            await work.events.record(AdminEvent(time=1, actor="a", act="x", target="t"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    async with store.begin() as work:
        assert await work.policies.get("prod/chat") is None
        assert not await work.events.recent()


async def test_callers_that_go_in_the_middle_keep_nobody_else_from_the_store(tmp_path: Path) -> None:
    """Clients hang up and sidecars are killed all the time, at any moment of their transactions."""
    store = await open_store(f"sqlite+aiosqlite:///{tmp_path}/store.db")

    async def read() -> None:
        async with store.begin() as work:
            await work.policies.get("x")
            await work.events.recent()

    for number in range(60):
        async with asyncio.TaskGroup() as group:
            readers = [group.create_task(read()) for _ in range(3)]
            await asyncio.sleep(number * 0.0002)
            for reader in readers:
                reader.cancel()
            async with store.begin() as work:
                await work.events.record(AdminEvent(time=1.0, actor="a", act="x", target=str(number)))
    async with store.begin() as work:
        assert len(await work.events.recent()) == 60
    await store.close()


async def test_a_transaction_that_cannot_begin_says_why_and_may_be_tried_again(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    await (await open_store(f"sqlite+aiosqlite:///{file}")).close()
    engine = create_async_engine(f"sqlite+aiosqlite:///{file}", connect_args={"timeout": 0})
    event.listen(engine.sync_engine, "begin", lambda one: one.exec_driver_sql("BEGIN IMMEDIATE"))
    store = SqlStore(engine)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DependencyUnavailable, match="does not answer") as refused:
            async with store.begin():
                pass
        assert refused.value.retry_after == 1.0
        other.execute("ROLLBACK")
    async with store.begin() as work:
        assert not await work.events.recent()
    await store.close()


async def test_a_deleted_policy_that_returns_goes_on_counting(store: SqlStore) -> None:
    async with store.begin() as work:
        await work.policies.add_revision(revision(1), namespace="prod")
        await work.policies.publish(publication(1))
        await work.policies.delete("prod/chat", at=3.0)
        assert await work.policies.published() == []
        assert await work.policies.all() == []
        await work.policies.add_revision(revision(2), namespace="prod")
        row = await work.policies.get("prod/chat")
        assert row is not None
        assert (row.revision, row.version, row.deleted_at, row.published) == (2, 1, None, 0)
        assert (await work.policies.published(), await work.policies.heads()) == ([], {})
        assert await work.policies.in_effect() == []
        assert len(await work.policies.current_documents("prod")) == 1
        await work.policies.publish(publication(2, 2))
        assert [row.version for row in await work.policies.published()] == [2]
        assert await work.policies.heads() == {"prod/chat": 2}


async def test_the_same_revision_twice_is_a_conflict(store: SqlStore) -> None:
    async def add() -> None:
        async with store.begin() as work:
            await work.policies.add_revision(revision(1), namespace="prod")

    await add()
    with pytest.raises(Conflict):
        await add()


async def test_a_publication_needs_its_revision(store: SqlStore) -> None:
    async with store.begin() as work:
        await work.policies.add_revision(revision(1), namespace="prod")
    with pytest.raises(Conflict, match="store refused"):
        async with store.begin() as work:
            await work.policies.publish(publication(1, 2))


@pytest.mark.parametrize("version", [1, 3])
async def test_a_version_is_the_next_one_or_none(store: SqlStore, version: int) -> None:
    async with store.begin() as work:
        await work.policies.add_revision(revision(1), namespace="prod")
        await work.policies.publish(publication(1))
    for policy in ("prod/chat", "prod/none"):
        with pytest.raises(Conflict, match="meanwhile"):
            async with store.begin() as work:
                await work.policies.publish(publication(version, policy=policy))


async def test_every_change_of_a_key_set_raises_its_version(store: SqlStore) -> None:
    key = KeyRow(key_set="chat", record=KeyRecord(id="1", hash="h", tenant="t"), created_at=1, created_by="a")
    async with store.begin() as work:
        assert await work.key_sets.ensure("chat", at=1, by="a")
        assert not await work.key_sets.ensure("chat", at=1, by="a")
        assert await work.key_sets.add_key(key) == 2
        assert await work.key_sets.revoke("chat", "1", at=2, by="a") == 3
        assert await work.key_sets.revoke("chat", "1", at=3, by="a") is None
        found = await work.key_sets.get("chat")
        assert found is not None
        assert found.version == 3
        assert [(record.id, record.revoked) for record in found.keys] == [("1", True)]
        assert await work.key_sets.get("none") is None


async def test_a_join_token_is_spent_once_and_never_after_its_end(store: SqlStore) -> None:
    row = JoinTokenRow(
        hash="h",
        spiffe_id="spiffe://t/ns/a/sa/b",
        labels={"app": "x"},
        created_at=0,
        created_by="a",
        expires_at=10,
    )
    async with store.begin() as work:
        await work.join_tokens.add(row)
        assert await work.join_tokens.spend("h", at=10) is None

    async def spend() -> bool:
        async with store.begin() as work:
            return await work.join_tokens.spend("h", at=5) is not None

    won = await asyncio.gather(*(spend() for _ in range(8)))
    assert won.count(True) == 1
    async with store.begin() as work:
        assert await work.join_tokens.purge(before=11) == 1


async def test_the_journal_lets_one_of_two_writers_win(store: SqlStore) -> None:
    def row(version: int) -> RotationRow:
        return RotationRow(secret="s", version=version, intent="i", phase="plan", state="{}", updated_at=1)

    async with store.begin() as work:
        assert await work.rotations.compare_and_set(row(1), 0)
        assert not await work.rotations.compare_and_set(row(1), 0)
        assert await work.rotations.compare_and_set(row(2), 1)
        assert not await work.rotations.compare_and_set(row(2), 1)
        assert await work.rotations.load("s") == row(2)
        with pytest.raises(ValueError, match="only rises"):
            await work.rotations.compare_and_set(row(2), 2)


async def test_a_lease_has_one_holder_and_a_rising_fence(store: SqlStore) -> None:
    async with store.begin() as work:
        first = await work.leases.acquire("rotation", "a", now=0, ttl=10)
        assert first is not None
        assert await work.leases.acquire("rotation", "b", now=5, ttl=10) is None
        extended = await work.leases.acquire("rotation", "a", now=8, ttl=10)
        assert extended is not None
        assert (extended.fence, extended.expires_at) == (first.fence, 18)
        second = await work.leases.acquire("rotation", "b", now=18, ttl=10)
        assert second is not None
        assert second.fence == first.fence + 1
        await work.leases.release("rotation", "b")
        assert await work.leases.acquire("rotation", "a", now=19, ttl=10) is not None


async def test_migrations_make_exactly_the_declared_tables_and_can_run_again(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    for _ in range(2):
        store = await open_store(f"sqlite+aiosqlite:///{path}")
        await store.close()
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    engine.dispose()
