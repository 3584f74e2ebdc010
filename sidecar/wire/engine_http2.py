"""The default wire engine: HTTP/2 on asyncio, made for uvloop. Listening and stopping; the rest is in http2_protocol.py
(asyncio), http2_connection.py (gRPC's rules) and a session (HTTP/2's rules).
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Final

from bartizan.tasks import Swarm
from sidecar.wire.engine import MAX_CONNECTIONS, Services
from sidecar.wire.grpc_call import Budget, Method
from sidecar.wire.grpc_health import Health
from sidecar.wire.http2_protocol import Http2Protocol
from sidecar.wire.http2_seam import Sessions
from sidecar.wire.running import Server

MAX_MESSAGE: Final = 68 * 1024 * 1024
"""Envoy may send a whole buffered body in one message."""
MAX_CALLS: Final = 4096
"""Open calls of one connection, and waiting handlers of all; Envoy tries refused ones elsewhere or answers 503."""
MAX_HELD: Final = 512 * 1024 * 1024
"""Bytes of unread messages of all calls."""
_ROUND_TRIP: Final = 0.1  # for the answer to our ping before the last GOAWAY
_LAST_WRITE: Final = 0.25  # for the last bytes of connections whose calls were ended


class Http2Engine:
    """Implements sidecar.wire.engine.Engine. Runs on asyncio's loop as well, with less speed."""

    def __init__(
        self, sessions: Sessions, *, max_message: int = MAX_MESSAGE, max_calls: int = MAX_CALLS
    ) -> None:
        self._server: asyncio.Server | None = None
        self._health = Health()
        self._state = Server(
            sessions=sessions,
            max_message=max_message,
            max_calls=max_calls,
            max_connections=MAX_CONNECTIONS,
            budget=Budget(MAX_HELD),
            swarm=Swarm(),
        )

    async def start(self, socket: Path, services: Services) -> None:
        """Listen on the unix socket (mode 0600). A file left by a killed worker is replaced."""
        socket.unlink(missing_ok=True)
        health = self._health.services
        for unary, handlers in (
            (True, {**health.unary, **services.unary}),
            (False, {**health.stream, **services.stream}),
        ):
            for name, handler in handlers.items():
                self._state.methods[name.encode()] = Method(name=name, unary=unary, handler=handler)
        before = os.umask(0o177)
        try:
            self._server = await asyncio.get_running_loop().create_unix_server(
                lambda: Http2Protocol(self._state), str(socket), backlog=1024
            )
        finally:
            os.umask(before)
        socket.chmod(0o600)

    async def stop(self, grace: float) -> None:
        """Refuse new calls, let running ones end for `grace` seconds, then end them with UNAVAILABLE."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        self._health.stop()
        connections = list(self._state.connections)
        end = time.monotonic() + grace
        for connection in connections:
            connection.drain()
        await _closed(connections, min(grace, _ROUND_TRIP))
        for connection in connections:
            connection.last_call()
        await _closed(connections, end - time.monotonic())
        for connection in connections:
            connection.abandon()
        await _closed(connections, _LAST_WRITE)
        for connection in connections:
            connection.abort()
        await self._state.swarm.close(0)


async def _closed(connections: list[Http2Protocol], seconds: float) -> None:
    waiting = [each.closed for each in connections if not each.closed.done()]
    if waiting and seconds > 0:
        await asyncio.wait(waiting, timeout=seconds)
