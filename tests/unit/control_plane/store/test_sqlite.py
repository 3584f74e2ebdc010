"""How statements get to SQLite: each by one trip to its thread. The driver's debug log names every trip."""

from __future__ import annotations

import logging

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import IntegrityError

from control_plane.store.sql.sqlite import engine
from control_plane.store.sql.store import IN_MEMORY, SqlStore
from control_plane.store.sql.transaction import transaction


def trips(caplog: pytest.LogCaptureFixture) -> int:
    made = sum(str(record.msg).startswith("executing") for record in caplog.records)
    caplog.clear()
    return made


async def test_a_transaction_is_one_trip_for_each_statement_and_one_for_its_end(
    store: SqlStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="aiosqlite")
    async with store.begin() as work:
        await work.policies.get("default/none")
        await work.policies.heads()
        assert trips(caplog) == 2  # BEGIN comes with the first
    assert trips(caplog) == 1  # COMMIT


async def test_a_transaction_without_a_statement_is_none(
    store: SqlStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="aiosqlite")
    async with store.begin():
        pass
    assert trips(caplog) == 0


async def test_rows_counts_and_faults_of_statements_are_those_of_the_driver() -> None:
    made = engine(make_url(IN_MEMORY))
    try:
        async with transaction(made) as connection:
            await connection.execute(text("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)"))
            many = await connection.execute(
                text("INSERT INTO t (b) VALUES (:b)"), [{"b": "x"}, {"b": "y"}, {"b": "z"}]
            )
            assert many.rowcount == 3
            changed = await connection.execute(text("UPDATE t SET b = 'w' WHERE a > 1"))
            assert changed.rowcount == 2
            returned = await connection.execute(text("DELETE FROM t WHERE a = 3 RETURNING b"))
            assert returned.scalar_one() == "w"
            with pytest.raises(IntegrityError):
                await connection.execute(text("INSERT INTO t (a) VALUES (1)"))
            rows = await connection.execute(text("SELECT a, b FROM t ORDER BY a"))
            assert [tuple(row) for row in rows] == [(1, "x"), (2, "w")]
    finally:
        await made.dispose()


async def test_what_was_not_committed_is_rolled_back() -> None:
    made = engine(make_url(IN_MEMORY))
    try:
        async with transaction(made) as connection:
            await connection.execute(text("CREATE TABLE t (a INTEGER)"))
        with pytest.raises(ZeroDivisionError):
            async with transaction(made) as connection:
                await connection.execute(text("INSERT INTO t VALUES (1)"))
                raise ZeroDivisionError
        async with transaction(made) as connection:
            assert (await connection.execute(text("SELECT count(*) FROM t"))).scalar_one() == 0
    finally:
        await made.dispose()
