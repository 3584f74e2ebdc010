"""Where the API's connections come in: so many in all and for each address, and none stays that asks nothing.

Accepting is ours instead of asyncio's because a connection counts from the moment it takes a descriptor, which is
before its TLS handshake and so before the HTTP server knows of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import resource
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from bartizan.tasks import Swarm
from bartizan.telemetry.logging import get_logger

_log = get_logger()
_BACKLOG = 256
_PAUSE_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """first_seconds: how long a connection may last before its first whole request head, TLS included."""

    connections: int = 1024
    per_peer: int = 256
    first_seconds: float = 10.0


def within_descriptors(limits: Limits = Limits()) -> Limits:
    """Raise this process's limit of descriptors as far as it may, and keep half of them from the API."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = limits.connections if soft == resource.RLIM_INFINITY else min(limits.connections, soft // 2)
    return Limits(
        connections=most,
        per_peer=min(limits.per_peer, max(1, most // 4)),
        first_seconds=limits.first_seconds,
    )


class Door:
    """Accepts for `make`'s protocols. Who is full sends away whom it has not heard yet, the oldest first."""

    def __init__(
        self, make: Callable[[], asyncio.Protocol], context: ssl.SSLContext | None, limits: Limits
    ) -> None:
        self._make = make
        self._context = context
        self._limits = limits
        self._swarm = Swarm()
        self._peers: Counter[str] = Counter()
        self._silent: dict[asyncio.Protocol, _Guest] = {}

    def open(self, host: str, port: int) -> int:
        """Listen and accept from now on; returns the port. Raises OSError."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        listener.setblocking(False)
        self._swarm.start(self._accept(listener), name="api-accept")
        return int(listener.getsockname()[1])

    def heard(self, protocol: asyncio.Protocol) -> None:
        """A whole request head came in on this connection."""
        guest = self._silent.pop(protocol, None)
        if guest is not None:
            guest.deadline.cancel()

    async def close(self) -> None:
        """Accept no more and end what is open."""
        await self._swarm.close(0)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with listener:
            while True:
                try:
                    connection, address = await loop.sock_accept(listener)
                except OSError as error:
                    # No descriptor is left, or the peer is gone already: neither may end the server.
                    _log.warning("api_accept_failed", error=type(error).__name__, errno=error.errno)
                    await asyncio.sleep(_PAUSE_SECONDS)
                    continue
                connection.setblocking(False)
                guest = self._admit(_network(str(address[0])), connection)
                if guest is None:
                    connection.close()
                    continue
                guest.task = self._swarm.start(self._serve(guest), name="api-connection")

    def _admit(self, peer: str, connection: socket.socket) -> _Guest | None:
        full = self._peers.total() >= self._limits.connections
        if full or self._peers[peer] >= self._limits.per_peer:
            for other in self._silent.values():
                if full or other.peer == peer:
                    self._leave(other)
                    break
            else:
                return None
        guest = _Guest(self, peer, connection, self._make())
        guest.deadline = asyncio.get_running_loop().call_later(self._limits.first_seconds, self._leave, guest)
        self._peers[peer] += 1
        self._silent[guest.inner] = guest
        return guest

    def _leave(self, guest: _Guest) -> None:
        """Once for each guest, whoever finds first that it is gone or has to go."""
        if guest.gone:
            return
        guest.gone = True
        guest.deadline.cancel()
        self._silent.pop(guest.inner, None)
        self._peers[guest.peer] -= 1
        if self._peers[guest.peer] <= 0:
            del self._peers[guest.peer]
        guest.end()

    async def _serve(self, guest: _Guest) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: guest,
                guest.connection,
                ssl=self._context,
                ssl_handshake_timeout=self._limits.first_seconds if self._context else None,
            )
            await guest.over.wait()
        except (OSError, ValueError):
            # A handshake that failed; a scan does that a thousand times.
            pass
        finally:
            self._leave(guest)
            # Nothing may be left of it but what is in use: its TLS takes 300 KiB, and a flood leaves thousands before
            # the collector looks for cycles.
            guest.task = None


class _Guest(asyncio.Protocol):
    """One connection: hands on everything to the HTTP protocol and says when it ended."""

    def __init__(self, door: Door, peer: str, connection: socket.socket, inner: asyncio.Protocol) -> None:
        self.peer = peer
        self.connection = connection
        self.inner = inner
        self.gone = False
        self.over = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.deadline: asyncio.TimerHandle
        self._door = door
        self._transport: asyncio.Transport | None = None

    def end(self) -> None:
        """At once: what is not sent yet is lost. Nothing when it ended by itself: of TLS there is nothing to abort then."""
        if self.over.is_set():
            return
        if self._transport is not None:
            self._transport.abort()
        elif self.task is not None:
            self.task.cancel()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.inner.connection_made(transport)
        if self.gone:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        self.inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self.inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.inner.connection_lost(exc)
        self.over.set()

    def pause_writing(self) -> None:
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        self.inner.resume_writing()


def _network(peer: str) -> str:
    """IPv6 by /64, which is what one customer has."""
    address = ipaddress.ip_address(peer.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
