"""PostgreSQL as the store: its engine, and how long it may be silent until whoever asked is told so.

A server that froze, or a network that swallows what is sent, answers nothing and closes nothing. Without limits of
ours a caller waits until the system gives the connection up, a quarter of an hour, and keeps what it holds.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, NullPool, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import AdaptedConnection
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

_CONNECT_SECONDS = 3.0
_PING_SECONDS = 2.0
_STATEMENT_SECONDS = 10.0
_IDLE_SECONDS = 5
"""So long PostgreSQL leaves a transaction open that says nothing. A replica that stands still holds rows, the rotation's
lease among them, that the others wait for: they have to go on before they take themselves for behind (8 s)."""
_MIGRATION_IDLE_SECONDS = 60
# A replica that went without a word, its machine's power or its network gone, gives its connections back.
_VANISHED = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "25000",
}


class SlowStatement(TimeoutError):
    """PostgreSQL was there, but a statement did not end in time."""

    def __init__(self) -> None:
        super().__init__(f"a statement took longer than {_STATEMENT_SECONDS:g} s")


def engine(url: URL) -> AsyncEngine:
    """For transactions. Raises TimeoutError from it where PostgreSQL is silent, SlowStatement once it is connected."""
    made = create_async_engine(
        url,
        pool_size=12,
        max_overflow=0,
        pool_timeout=10,
        connect_args=_arguments(_IDLE_SECONDS, command_timeout=_STATEMENT_SECONDS),
    )
    event.listen(made.sync_engine, "checkout", _ping)
    event.listen(made.sync_engine, "handle_error", _give_up_who_is_silent)
    return made


def migrating_engine(url: URL) -> AsyncEngine:
    """For one transaction that may last: its statements, and waiting for another replica's, take what they take."""
    return create_async_engine(url, poolclass=NullPool, connect_args=_arguments(_MIGRATION_IDLE_SECONDS))


def _arguments(idle: int, **more: float) -> dict[str, Any]:
    settings = {"idle_in_transaction_session_timeout": f"{idle}s", **_VANISHED}
    return {"timeout": _CONNECT_SECONDS, "server_settings": settings, **more}


def _ping(connection: AdaptedConnection, _record: object, _proxy: object) -> None:
    """SQLAlchemy's own ping has no limit. One connection that does not answer makes all that are as old suspect."""
    try:
        connection.run_async(lambda driver: driver.execute("SELECT 1", timeout=_PING_SECONDS))
    except Exception as error:
        # the driver's, the system's or a timeout: a new connection will show what it is
        raise InvalidatePoolError from error


def _give_up_who_is_silent(context: ExceptionContext) -> SlowStatement | None:
    error = context.original_exception
    if not isinstance(error, TimeoutError):
        return None
    context.is_disconnect = True
    # the system's own (ETIMEDOUT) has a number: then the network is at fault
    return SlowStatement() if context.connection is not None and error.errno is None else None
