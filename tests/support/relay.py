"""A relay before a server that can swallow what is sent: nothing is answered, and nothing is closed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bartizan.tasks import Swarm


class Relay:
    """deaf: connections are taken and nothing moves on them. `lose` makes those that are open deaf for ever.

    source: the address that the server sees, 127.0.0.1 where none is given.
    """

    def __init__(self, target: int, *, source: str = "127.0.0.1") -> None:
        self._target = target
        self._source = source
        self._generation = 0
        self._swarm = Swarm()
        self.deaf = False
        self.port = 0

    def lose(self) -> None:
        self._generation += 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Relay]:
        """On a free port of loopback."""
        server = await asyncio.start_server(
            lambda reader, writer: self._swarm.start(self._serve(reader, writer), name="relay"),
            "127.0.0.1",
            0,
        )
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            await self._swarm.close(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        generation = self._generation
        other_reader, other_writer = await asyncio.open_connection(
            "127.0.0.1", self._target, local_addr=(self._source, 0)
        )

        async def move(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                while data := await source.read(65536):
                    while self.deaf or self._generation != generation:
                        await asyncio.sleep(0.01)
                    to.write(data)
                    await to.drain()
            to.close()

        try:
            await asyncio.gather(move(reader, other_writer), move(other_reader, writer))
        finally:
            writer.close()
            other_writer.close()
