"""The same store over real PostgreSQL, where replicas write at the same time. Skipped where there is no PostgreSQL."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from bartizan.errors import BartizanError, Conflict, DependencyUnavailable, InvalidInput, NotFound
from control_plane.policies.service import Policies
from control_plane.recover import ACT, new_admin
from control_plane.store.base import (
    AdminEvent,
    AuditRow,
    JoinTokenRow,
    PublicationRow,
    RevisionRow,
    RotationRow,
)
from control_plane.store.sql.store import SqlStore, open_store
from tests.integration.control_plane.test_audit_filters import KEYS, fill, found
from tests.integration.control_plane.test_pages import instance
from tests.support.postgres import needs_postgres, postgres
from tests.unit.control_plane.policies.test_mesh_service import policy
from tests.unit.control_plane.policies.test_policy_service import ACTOR, Signer

pytestmark = [
    needs_postgres,
    pytest.mark.xdist_group("postgres"),
    pytest.mark.asyncio(loop_scope="module"),
]
NUMBERS = itertools.count(1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[str]:
    async with postgres() as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def url(server: str) -> str:
    """A database of the test's own."""
    name = f"test{next(NUMBERS)}"
    engine = create_async_engine(server, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text(f"CREATE DATABASE {name} TEMPLATE template0"))
    await engine.dispose()
    return make_url(server).set(database=name).render_as_string(hide_password=False)


@pytest_asyncio.fixture(loop_scope="module")
async def replicas(url: str) -> AsyncIterator[list[SqlStore]]:
    made = await asyncio.gather(*(open_store(url) for _ in range(3)))
    yield made
    for store in made:
        await store.close()


async def at_once(replicas: list[SqlStore], act: Any) -> list[Any]:
    """The same act at every replica, all at the same time; conflicts are outcomes."""

    async def one(store: SqlStore) -> Any:
        try:
            async with store.begin() as work:
                return await act(work)
        except BartizanError as error:
            return error

    return list(await asyncio.gather(*(one(store) for store in replicas)))


async def test_of_replicas_that_write_at_once_one_wins(replicas: list[SqlStore]) -> None:
    revision = RevisionRow(
        policy="prod/chat", number=1, document="{}", digest="d", author="a", reason="", created_at=1.0
    )
    added = await at_once(replicas, lambda work: work.policies.add_revision(revision, namespace="prod"))
    assert [type(outcome) for outcome in added if outcome is not None] == [Conflict] * 2

    publication = PublicationRow(
        policy="prod/chat",
        version=1,
        revision=1,
        bundle=b"\x00",
        key_id="k",
        plan_hash="h",
        published_at=1.0,
        published_by="a",
    )
    published = await at_once(replicas, lambda work: work.policies.publish(publication))
    assert [type(outcome) for outcome in published if outcome is not None] == [Conflict] * 2

    row = RotationRow(secret="s", version=1, intent="i", phase="plan", state="{}", updated_at=1.0)
    journal = await at_once(replicas, lambda work: work.rotations.compare_and_set(row, 0))
    assert sorted(journal) == [False, False, True]

    token = JoinTokenRow(hash="h", spiffe_id="s", labels={}, created_at=0.0, created_by="a", expires_at=10.0)
    async with replicas[0].begin() as work:
        await work.join_tokens.add(token)
    spent = await at_once(replicas, lambda work: work.join_tokens.spend("h", at=1.0))
    assert sum(outcome is not None for outcome in spent) == 1

    made = await at_once(replicas, lambda work: work.key_sets.ensure("chat", at=1.0, by="a"))
    assert sorted(made) == [False, False, True], "making what is there is no conflict"

    leases = await at_once(replicas, lambda work: work.leases.acquire("l", str(id(work)), now=0.0, ttl=9.0))
    assert sum(lease is not None for lease in leases) == 1


async def test_a_record_that_two_replicas_get_is_stored_once(replicas: list[SqlStore]) -> None:
    rows = [AuditRow(id=f"{number}", time=1.0, json="{}") for number in range(20)]
    outcomes = await at_once(replicas, lambda work: work.audit.add(rows))
    # Who lost is told so and sends again; then all is there.
    for outcome in outcomes:
        assert isinstance(outcome, int | Conflict)
    async with replicas[0].begin() as work:
        assert await work.audit.add(rows) == 0


async def test_a_policy_is_not_deleted_in_the_middle_of_another_replicas_change_of_it(
    replicas: list[SqlStore],
) -> None:
    """A MeshPolicy's change has made sure of its endpoints and is about to publish them."""
    one, other = [Policies(store, Signer(), _ignore) for store in replicas[:2]]
    await one.apply(policy("chat"), ACTOR)

    async def delete() -> None:
        await other.delete("prod/chat", ACTOR)

    async with replicas[0].begin() as work:
        await work.meshes.hold({})
        assert [row.version for row in await work.policies.in_effect()] == [1]
        deleting = asyncio.create_task(delete())  # noqa: TID251 - a replica of its own
        await asyncio.wait([deleting], timeout=0.5)
        assert [row.version for row in await work.policies.in_effect()] == [1], (
            "still what it was prepared for"
        )
        assert not deleting.done()
    await deleting
    assert await one.states() == []


async def test_a_replica_that_stands_still_in_a_transaction_does_not_hold_the_others(
    replicas: list[SqlStore],
) -> None:
    """It was stopped, or its network is gone: PostgreSQL hears nothing more from it, not even that it ended."""
    row = RotationRow(secret="s", version=1, intent="i", phase="plan", state="{}", updated_at=1.0)
    still, other = replicas[:2]
    with pytest.raises(DependencyUnavailable):
        async with still.begin() as work:
            assert await work.leases.acquire("rotation", "still", now=0.0, ttl=1.0)
            assert await work.rotations.compare_and_set(row, 0)
            async with other.begin() as others:
                assert await others.leases.acquire("rotation", "other", now=2.0, ttl=1.0)
                assert await others.rotations.compare_and_set(row, 0)
            # what it wakes up with is void
            await work.leases.acquire("rotation", "still", now=2.0, ttl=9.0)
    async with still.begin() as work:
        assert (lease := await work.leases.acquire("rotation", "other", now=2.5, ttl=1.0)), "not the other's"
        assert lease.holder == "other"


async def test_an_act_of_somebody_with_a_long_name_is_recorded(replicas: list[SqlStore]) -> None:
    event = AdminEvent(time=1.0, actor="spiffe://" + "a" * 500, act="instance.attest", target="t" * 500)
    async with replicas[0].begin() as work:
        await work.events.record(event)
        [stored] = await work.events.recent()
    assert event.actor.startswith(stored.actor)
    assert event.target.startswith(stored.target)


async def test_why_postgresql_failed_is_told_by_its_own_word(replicas: list[SqlStore]) -> None:
    """A disk that is full, a standby that can't be written to: whoever is on call has to know which."""
    with pytest.raises(DependencyUnavailable, match="ReadOnlySQLTransactionError"):
        async with replicas[0].begin() as work:
            await work._connection.execute(text("SET TRANSACTION READ ONLY"))
            await work.key_sets.ensure("chat", at=1.0, by="a")


@pytest.mark.parametrize(
    "ask",
    [
        lambda work: work.policies.revision("prod/chat", 2**64),
        lambda work: work.policies.get("prod/\0"),
        lambda work: work.policies.get("\udcff"),
    ],
    ids=["number", "nul", "surrogate"],
)
async def test_what_no_column_can_hold_is_the_callers_fault(url: str, ask: Any) -> None:
    store = await open_store(url)
    with pytest.raises(InvalidInput):
        async with store.begin() as work:
            await ask(work)
    await store.close()


async def _ignore(*_told: object) -> None:
    pass


async def test_a_way_back_in_is_made_in_the_shared_store(url: str, replicas: list[SqlStore]) -> None:
    made = await new_admin(url, name="back", ttl_seconds=3600)
    async with replicas[0].begin() as work:
        [token] = await work.tokens.all()
        [event] = await work.events.recent()
    assert (token.id, token.role, event.act, event.target) == (made.id, "admin", ACT, made.id)


async def test_a_database_that_nobody_used_gets_no_way_in(url: str) -> None:
    with pytest.raises(NotFound):
        await new_admin(url, name="back", ttl_seconds=3600)


async def test_pages_of_instances_are_the_same_over_postgres(replicas: list[SqlStore]) -> None:
    rows = [instance(number) for number in range(7)]
    async with replicas[0].begin() as work:
        for row in rows:
            await work.instances.add(row)
        first = await work.instances.all(limit=4)
        second = await work.instances.all(after=(first[-1].created_at, first[-1].instance_id), limit=4)
    assert [*first, *second] == rows


async def test_records_of_a_key_are_found_over_postgres(replicas: list[SqlStore]) -> None:
    await fill(replicas[0])
    for number, key in enumerate(KEYS[:-1]):
        assert await found(replicas[1], key) == [f"{number:015x}0", f"{number:015x}f"]
