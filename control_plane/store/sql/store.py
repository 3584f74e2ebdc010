"""The store over SQLAlchemy: opens the database, brings it to the newest schema, hands out transactions.

SQLite gets one connection per process (one writer at a time is all it can do; waiting in our own queue is fair and
does not poll); PostgreSQL gets a pool.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import URL, Connection, inspect, make_url, text
from sqlalchemy.exc import DBAPIError, IntegrityError, InvalidRequestError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bartizan import tasks
from bartizan.errors import (
    BartizanError,
    Conflict,
    DependencyRefused,
    DependencyUnavailable,
    InvalidInput,
    NotFound,
)
from control_plane.store.rows import Change
from control_plane.store.sql import postgres, sqlite
from control_plane.store.sql.access import SqlAdminEvents, SqlAdminTokens, SqlJoinTokens
from control_plane.store.sql.announce import Announcement, Note, listen
from control_plane.store.sql.audit import SqlAudit
from control_plane.store.sql.fleet import SqlInstances
from control_plane.store.sql.keys import SqlKeySets
from control_plane.store.sql.meshes import SqlMeshes
from control_plane.store.sql.policies import SqlPolicies
from control_plane.store.sql.replicas import SqlReplicas
from control_plane.store.sql.secrets import SqlLeases, SqlRotations, SqlSecrets
from control_plane.store.sql.tables import ADMIN_TOKENS
from control_plane.store.sql.transaction import transaction, turn

IN_MEMORY = "sqlite+aiosqlite:///:memory:"
_MIGRATIONS = Path(__file__).parent / "migrations"
# Any number will do as long as every replica uses the same one.
_MIGRATION_LOCK = 0x62617274
CLOSE_SECONDS = 3.0
_DATA_EXCEPTION = "22"
"""Class of PostgreSQL's error codes: a NUL in a text, a number beyond 64 bits. It is whoever sent the value who is wrong."""
_NO_CONNECTION_ANSWERS = "This connection is closed"
"""SQLAlchemy's words, and all it says, when the pool's ping failed on an old connection and on the new one, too."""
_UNFIT = "the store can't hold a value of this: a number beyond 64 bits, or a character that is none"


class SqlWork:
    """One transaction's view of every table."""

    def __init__(self, connection: AsyncConnection, note: Note) -> None:
        self._connection = connection
        self.policies = SqlPolicies(connection, note)
        self.meshes = SqlMeshes(connection)
        self.key_sets = SqlKeySets(connection, note)
        self.tokens = SqlAdminTokens(connection)
        self.join_tokens = SqlJoinTokens(connection)
        self.instances = SqlInstances(connection, note)
        self.secrets = SqlSecrets(connection, note)
        self.rotations = SqlRotations(connection, note)
        self.audit = SqlAudit(connection)
        self.events = SqlAdminEvents(connection)
        self.leases = SqlLeases(connection)
        self.replicas = SqlReplicas(connection)

    async def now(self) -> float:
        if self._connection.dialect.name != "postgresql":
            return time.time()
        found = await self._connection.execute(text("SELECT extract(epoch FROM clock_timestamp())::float8"))
        return float(found.scalar_one())


class SqlStore:
    """A `Store`. Made by `open_store`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._origin = secrets.token_hex(8)
        self._turn = asyncio.Lock()

    @property
    def shared(self) -> bool:
        return self._engine.dialect.name == "postgresql"

    async def listen(self, tell: Callable[[Change], None]) -> None:
        await listen(self._engine, self._origin, tell)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[SqlWork]:
        try:
            async with self._transaction() as connection:
                announcement = Announcement()
                yield SqlWork(connection, announcement.note)
                await announcement.send(connection, self._origin)
        except Exception as error:
            if (fault := _fault(error)) is None:
                raise
            raise fault from error

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        if self.shared:
            async with self._engine.begin() as connection:
                yield connection
        else:
            async with turn(self._turn), transaction(self._engine) as connection:
                yield connection

    async def close(self) -> None:
        """Connections that can't be closed in good order, because nobody answers, are dropped after a while.

        SQLite's one connection is waited for: one that is in use would be forgotten, open as it is.
        """
        if self.shared:
            with contextlib.suppress(TimeoutError):
                async with tasks.timeout(CLOSE_SECONDS):
                    await self._engine.dispose()
            return
        with contextlib.suppress(SQLAlchemyError):
            async with turn(self._turn):
                pass
        await self._engine.dispose()


async def open_store(url: str = IN_MEMORY) -> SqlStore:
    """Connect and migrate. Raises InvalidInput (not a URL), DependencyUnavailable, DependencyRefused.

    Neither messages nor causes hold any part of the URL.
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        engine = sqlite.engine(parsed)
        async with _opened(engine), transaction(engine) as connection:
            await connection.run_sync(_migrate)
        return SqlStore(engine)
    engine = postgres.engine(parsed)
    async with _opened(engine), postgres.migrating_engine(parsed).begin() as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        await connection.run_sync(_migrate)
    return SqlStore(engine)


async def open_used_store(url: str) -> SqlStore:
    """One that a control plane has made, as it is: nothing is created and nothing migrated. Raises also NotFound."""
    parsed = _parsed(url)
    nothing = NotFound("no control plane has used this store (BARTIZAN_CP_STORE, BARTIZAN_CP_STATE_DIR)")
    single = parsed.get_backend_name() == "sqlite"
    if single and not Path(parsed.database or "").is_file():
        raise nothing
    engine = sqlite.engine(parsed) if single else postgres.engine(parsed)
    async with _opened(engine), transaction(engine) if single else engine.connect() as connection:
        used = await connection.run_sync(lambda plain: inspect(plain).has_table(ADMIN_TOKENS.name))
        if not used:
            raise nothing
    return SqlStore(engine)


@asynccontextmanager
async def _opened(engine: AsyncEngine) -> AsyncIterator[None]:
    """Where the block fails, nothing of the engine is left, and the driver's error is said as ours."""
    try:
        yield
    except BaseException as error:
        await engine.dispose()
        if (fault := _fault(error)) is None:
            raise
        raise fault from error


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except (ValueError, SQLAlchemyError):
        # Their texts hold what could not be read: of a password with a slash and a colon the rest.
        raise InvalidInput(
            "the store's address (BARTIZAN_CP_STORE) is not an SQLAlchemy URL; in its password write @ as %40, "
            "/ as %2F, : as %3A and % as %25"
        ) from None


def _migrate(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _fault(error: BaseException) -> BartizanError | None:
    """None for what is not the store's. The driver's own errors come while connecting, where nobody wraps them."""
    match error:
        case postgres.SlowStatement():
            return DependencyUnavailable(str(error), retry_after=1.0)
        case OSError():  # and TimeoutError: no name, no route, no answer
            return DependencyUnavailable("the store can't be reached", retry_after=1.0)
        case _ if type(error).__module__.startswith("asyncpg"):
            # Still starting, or it does not let us in; the text may name users, so only the kind is told.
            return DependencyUnavailable(f"the store refused us: {type(error).__name__}")
        case OverflowError() | UnicodeEncodeError():
            return InvalidInput(_UNFIT)
        case DBAPIError() if str(getattr(error.orig, "sqlstate", "")).startswith(_DATA_EXCEPTION):
            return InvalidInput(_UNFIT)
        case IntegrityError():
            return Conflict(
                "the store refused this change: something with that name or number exists already"
            )
        case PoolTimeout():
            return DependencyUnavailable("the store is too busy", retry_after=1.0)
        case DBAPIError() if isinstance(error.orig, sqlite3.DatabaseError) and "locked" not in str(
            error.orig
        ):
            return DependencyUnavailable(f"the store failed: {error.orig}")
        case DBAPIError() if getattr(error.orig, "sqlstate", None) and error.orig is not None:
            # PostgreSQL's own word (DiskFullError, ReadOnlySQLTransactionError …), which tells what to mend; no text.
            kind = type(error.orig.__cause__ or error.orig).__name__
            return DependencyUnavailable(f"the store failed: {kind}", retry_after=1.0)
        case DBAPIError():
            return DependencyUnavailable("the store does not answer", retry_after=1.0)
        case InvalidRequestError() if str(error) == _NO_CONNECTION_ANSWERS:
            return DependencyUnavailable("the store does not answer", retry_after=1.0)
        case SQLAlchemyError():
            return DependencyRefused(f"the store refused: {type(error).__name__}")
        case _:
            return None
