"""A PostgreSQL that says nothing any more, or lets nobody in: whoever asks is told so in time, and all comes back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from bartizan.errors import DependencyUnavailable
from control_plane.store.sql import postgres as limits
from control_plane.store.sql import store as store_module
from control_plane.store.sql.store import SqlStore, open_store
from tests.support.postgres import needs_postgres, postgres
from tests.support.relay import Relay

AT_ONCE = 6
pytestmark = [pytest.mark.xdist_group("store-silence"), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="url")
async def _url() -> AsyncIterator[str]:
    async with postgres() as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module", name="relay")
async def _relay(url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Relay]:
    for name in ("_CONNECT_SECONDS", "_PING_SECONDS", "_STATEMENT_SECONDS"):
        # what answers must be able to do so within it, on a busy machine too
        monkeypatch.setattr(limits, name, 3.0)
    port = make_url(url).port
    assert port is not None
    async with Relay(port).running() as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module", name="store")
async def _store(url: str, relay: Relay) -> AsyncIterator[SqlStore]:
    made = await open_store(make_url(url).set(port=relay.port).render_as_string())
    yield made
    await made.close()


async def ask(store: SqlStore) -> None:
    async with store.begin() as work:
        await work.policies.heads()


async def asked(store: SqlStore, times: int = 1) -> None:
    """So many calls at once are answered, sooner or later: on a busy machine not every one is in time."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(DependencyUnavailable):
                await asyncio.gather(*(ask(store) for _ in range(times)))
                return


async def ask_at_once(store: SqlStore) -> list[type]:
    """How each of several calls ended; a call that does not end is a failed test."""
    async with asyncio.timeout(30):
        ended = await asyncio.gather(*(ask(store) for _ in range(AT_ONCE)), return_exceptions=True)
    return [type(each) for each in ended]


@needs_postgres
async def test_a_silent_database_is_unavailable_and_comes_back(store: SqlStore, relay: Relay) -> None:
    await asked(store, AT_ONCE)
    relay.deaf = True
    for _ in range(2):  # over the connections that are there, then over new ones
        assert await ask_at_once(store) == [DependencyUnavailable] * AT_ONCE
    relay.deaf = False
    await asked(store)


@needs_postgres
async def test_a_database_that_falls_silent_in_a_transaction_is_unavailable(
    store: SqlStore, relay: Relay
) -> None:
    await asked(store)
    with pytest.raises(DependencyUnavailable):
        async with asyncio.timeout(30), store.begin() as work:
            await work.policies.heads()
            relay.deaf = True
            await work.policies.heads()
    assert relay.deaf, "so far it came"
    relay.deaf = False
    await asked(store)


@needs_postgres
async def test_a_statement_that_takes_too_long_is_called_so(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_STATEMENT_SECONDS", 1.0)
    other = create_async_engine(url)
    store = SqlStore(limits.engine(make_url(url)))
    async with other.begin() as connection:
        await connection.execute(text("LOCK TABLE policies"))
        with pytest.raises(DependencyUnavailable, match="a statement took longer than 1 s"):
            await ask(store)
    await asked(store)
    await store.close()
    await other.dispose()


@needs_postgres
async def test_connections_that_the_network_forgot_cost_nobody_an_answer(
    store: SqlStore, relay: Relay
) -> None:
    """A firewall that lost its state: what is open stays silent for ever, new connections are well."""
    await asked(store, AT_ONCE)
    relay.lose()
    assert await ask_at_once(store) == [type(None)] * AT_ONCE


@needs_postgres
async def test_a_process_that_ends_does_not_wait_for_a_silent_database(
    store: SqlStore, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing in good order takes an answer for each connection."""
    monkeypatch.setattr(store_module, "CLOSE_SECONDS", 0.5)
    await asked(store, AT_ONCE)
    relay.lose()
    async with asyncio.timeout(10):
        await store.close()


@needs_postgres
async def test_a_database_that_lets_nobody_in_is_unavailable(store: SqlStore, url: str) -> None:
    """As one that is still starting does."""
    admin = create_async_engine(make_url(url).set(database="template1"), isolation_level="AUTOCOMMIT")
    async with admin.connect() as connection:
        await connection.execute(text("ALTER DATABASE postgres ALLOW_CONNECTIONS false"))
        with pytest.raises(DependencyUnavailable):
            await ask(store)
        await connection.execute(text("ALTER DATABASE postgres ALLOW_CONNECTIONS true"))
    await admin.dispose()
    await asked(store)


async def test_a_database_whose_name_is_not_known_is_unavailable() -> None:
    engine = limits.engine(make_url("postgresql+asyncpg://bz@nowhere.invalid/bartizan"))
    with pytest.raises(DependencyUnavailable, match="reached"):
        await ask(SqlStore(engine))
    await engine.dispose()


@needs_postgres
async def test_the_wait_for_another_replicas_migration_has_no_limit(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_STATEMENT_SECONDS", 0.2)
    other = create_async_engine(url)
    async with other.begin() as connection:
        await connection.execute(text(f"SELECT pg_advisory_xact_lock({0x62617274})"))
        opening = asyncio.create_task(open_store(url))  # noqa: TID251 - a replica of its own
        done, _ = await asyncio.wait([opening], timeout=1.0)
        assert not done
    await (await opening).close()
    await other.dispose()
