"""Two replicas over one PostgreSQL, in one process: what one writes the other knows, told or not; one that is behind serves nobody."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from bartizan.api import IssueKey
from bartizan.errors import BartizanError, Conflict, DependencyUnavailable, Forbidden
from bartizan.policy.names import TYPE_KEY_SET
from control_plane.push import replicas as timing
from control_plane.push.replicas import Replicas
from control_plane.store.base import RotationRow
from control_plane.store.sql.store import open_store
from tests.support.following_replicas import POLICY, Replica, instance
from tests.support.postgres import needs_postgres, postgres
from tests.support.push_stand import ACTOR, CHAT, until

pytestmark = [
    needs_postgres,
    pytest.mark.xdist_group("replicas-follow"),
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="url")
async def _url() -> AsyncIterator[str]:
    async with postgres() as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module", name="pair")
async def _pair(url: str) -> AsyncIterator[tuple[Replica, Replica]]:
    async with AsyncExitStack() as stack:
        stores = [await open_store(url) for _ in range(2)]
        for store in stores:
            stack.push_async_callback(store.close)
        one, two = (Replica(name, store) for name, store in zip(("one", "two"), stores, strict=True))
        await one.keys.create_set("chat-set", ACTOR)
        async with one.store.begin() as work:
            for name in ("i1", "i2"):
                if await work.instances.get(name) is None:
                    await work.instances.add(instance(name))
        for each in (one, two):
            await stack.enter_async_context(each.running())
        yield one, two


async def changes(one: Replica, two: Replica) -> None:
    """Each kind of change made at one is known at two."""
    applied = await one.policies.apply(POLICY.format(name="chat", app="chat").encode(), ACTOR)
    await until(
        lambda: (wanted := two.ledger.wanted("prod/chat")) is not None and wanted.version == applied.version
    )

    subscriber = await two.publisher.subscribe("i1", CHAT)
    issued = await one.keys.issue("chat-set", IssueKey(tenant="acme"), ACTOR)
    version, _ = await one.keys.keys("chat-set")
    await until(lambda: two.ledger.key_set_version("chat-set") == version)
    await one.keys.revoke("chat-set", issued.id, ACTOR)
    newest = f"chat-set@{version + 1}"
    await until(lambda: subscriber.publication.current.types[TYPE_KEY_SET].version == newest)
    two.publisher.unsubscribe(subscriber)

    sequence = time.monotonic_ns()
    await one.report(sequence, version=applied.version, replica="one")
    await until(lambda: two.ledger.is_live("i1"))
    (row,) = [row for row in two.ledger.rows("prod/chat") if row.instance_id == "i1"]
    assert row.version == applied.version

    name = f"i-{sequence}"
    async with one.store.begin() as work:
        await work.instances.add(instance(name))
    await until(lambda: two.ledger.instance(name) is not None)
    stream = await two.publisher.subscribe(name, CHAT)
    async with one.store.begin() as work:
        await work.instances.remove(name, at=2.0)
    await until(lambda: two.ledger.instance(name) is None)
    with pytest.raises(Forbidden):
        await stream.publication.changed(stream.publication.current)

    seen = two.caught_up
    rotation = RotationRow(secret=name, version=1, intent="i", phase="plan", state="{}", updated_at=1.0)
    async with one.store.begin() as work:
        assert await work.rotations.compare_and_set(rotation, 0)
    await until(lambda: two.caught_up > seen)

    await one.policies.delete("prod/chat", ACTOR)
    await until(lambda: two.ledger.wanted("prod/chat") is None)


async def test_what_one_replica_changes_is_told_to_the_other(
    pair: tuple[Replica, Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "EVERY", 3600.0)  # no look of its own: all that is known was told
    monkeypatch.setattr(timing, "BEHIND", 3600.0)
    for each in pair:
        await each.replicas.look()
    await changes(*pair)


async def test_what_was_not_told_is_found_by_looking(
    pair: tuple[Replica, Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "EVERY", 0.05)
    monkeypatch.setattr(Replicas, "_hear", lambda _self, _change: None)
    for each in pair:
        await each.replicas.look()
    await changes(*pair)


async def test_replicas_whose_connections_were_cut_hear_each_other_again(
    pair: tuple[Replica, Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "EVERY", 3600.0)
    monkeypatch.setattr(timing, "BEHIND", 3600.0)
    engine = create_async_engine(str(pair[0].store._engine.url))
    listening = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' OR query = 'SELECT 1'"
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IS NOT NULL AND pid <> pg_backend_pid()"
    async with engine.connect() as connection:
        await connection.execute(text(cut))
        await connection.commit()
        async with asyncio.timeout(60):
            while (await connection.execute(text(listening))).scalar_one() < len(pair):
                await asyncio.sleep(0.05)
                await connection.commit()
    await engine.dispose()
    await changes(*pair)


async def test_a_replica_that_ends_takes_its_sidecars_along(pair: tuple[Replica, Replica]) -> None:
    one, two = pair
    async with AsyncExitStack() as stack:
        store = await open_store(str(one.store._engine.url))
        stack.push_async_callback(store.close)
        third = Replica("three", store)
        async with third.running():
            await third.report(time.monotonic_ns(), replica="three")
            await two.replicas.look()
            assert two.ledger.is_live("i1")
        await two.replicas.look()
        assert not two.ledger.is_live("i1")


async def test_a_replica_that_comes_back_does_not_vouch_for_whom_it_has_not_heard(
    pair: tuple[Replica, Replica],
) -> None:
    one, two = pair
    await one.report(time.monotonic_ns(), replica="one")
    await two.replicas.look()
    assert two.ledger.is_live("i1")
    again = Replica("one", one.store)
    await again.fleet.load()
    await two.replicas.look()
    assert not two.ledger.is_live("i1")
    assert not again.ledger.is_live("i1")


async def test_a_replica_that_is_behind_serves_nobody_until_it_has_caught_up(
    pair: tuple[Replica, Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, two = pair
    stream = await two.publisher.subscribe("i2", CHAT)
    away = True

    async def unreachable(_self: Replicas) -> None:
        if away:
            raise DependencyUnavailable("the store can't be reached")
        await look(_self)

    look = Replicas._look
    monkeypatch.setattr(Replicas, "_look", unreachable)
    monkeypatch.setattr(timing, "BEHIND", 0.3)
    with pytest.raises(DependencyUnavailable):
        async with asyncio.timeout(60):
            await stream.publication.changed(stream.publication.current)
    assert not two.following()
    for refused in (two.publisher.subscribe("i2", CHAT), two.replicas.look()):
        with pytest.raises(DependencyUnavailable):
            await refused
    monkeypatch.setattr(timing, "BEHIND", 8.0)
    away = False
    await until(two.following)
    assert (await two.publisher.subscribe("i2", CHAT)).instance.instance_id == "i2"


async def test_of_two_policies_for_the_same_sidecars_applied_at_once_one_is_stored(
    pair: tuple[Replica, Replica],
) -> None:
    async def apply(replica: Replica, name: str) -> BartizanError | None:
        try:
            await replica.policies.apply(POLICY.format(name=name, app="rival").encode(), ACTOR)
        except Conflict as error:
            return error
        return None

    for turn in range(5):
        names = [f"rival-{turn}-{number}" for number in range(2)]
        outcomes: list[Awaitable[BartizanError | None]] = [
            apply(each, name) for each, name in zip(pair, names, strict=True)
        ]
        refused = [one for one in await asyncio.gather(*outcomes) if one is not None]
        assert len(refused) == 1
        stored = {state.row.name for state in await pair[0].policies.states() if "rival" in state.row.name}
        assert len(stored) == 1
        for name in stored:
            await pair[0].policies.delete(name, ACTOR)


async def test_a_replica_says_up_to_when_it_knows_what_others_wrote(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await open_store(url)
    two = Replica("two", store)  # it does not run: it looks when it is told to, and never else
    await two.fleet.load()
    await two.replicas.look()

    async def known() -> float:
        async with store.begin() as work:
            return await work.replicas.known(but="one", since=0.0)

    async with store.begin() as work:
        written = await work.now()

    async def unable(_self: Replica) -> None:
        raise DependencyUnavailable("it can't take rotations over")

    seen = two.caught_up
    with monkeypatch.context() as patch:
        patch.setattr(two.replicas, "_catch_up", unable.__get__(two))
        for _ in range(3):
            with pytest.raises(DependencyUnavailable):
                await two.replicas.look()
        assert (await known() < written, two.caught_up) == (True, seen), "it looked and did not take it over"
    await two.replicas.look()
    assert await known() < written, "it says so when it looks again: it lived on"
    await two.replicas.look()
    assert await known() >= written
    async with store.begin() as work:
        await work.replicas.leave("two")
    await store.close()
