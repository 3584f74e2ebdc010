"""Envoy's admin interface over its unix socket: is it ready, which secret generations are in use, drain, quit."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from bartizan.errors import DependencyUnavailable
from sidecar.agent.lean_aiohttp import aiohttp
from sidecar.agent.sds import generation_of

_PEER = struct.Struct("3i")  # struct ucred: pid, uid, gid


class _Secret(msgspec.Struct):
    name: str = ""
    version_info: str = ""


class _Dump(msgspec.Struct):
    configs: list[_Secret] = []


class _Stat(msgspec.Struct):
    name: str = ""
    value: float = 0


class _Stats(msgspec.Struct):
    stats: list[_Stat] = []


class _Info(msgspec.Struct):
    version: str = ""


class EnvoyAdmin:
    """An asynchronous context. Every call raises DependencyUnavailable when Envoy does not answer in time."""

    def __init__(self, socket: Path, timeout: float = 2.0) -> None:
        self._socket = socket
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            # kept open: it is asked three times a second, and a new connection costs as much as the answer
            connector=aiohttp.UnixConnector(str(self._socket)),
            timeout=self._timeout,
        )
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    def owner(self) -> int | None:
        """The process that serves this interface, by the kernel's word: also one that does not answer. 0: one that has
        no number here, of another namespace or with a full queue. None: nobody does. To one that stands still every
        question adds to its queue.
        """
        with socket.socket(socket.AF_UNIX) as asking:
            asking.setblocking(False)
            try:
                asking.connect(str(self._socket))
            except BlockingIOError:
                return 0
            except OSError:
                return None
            pid: int = _PEER.unpack(asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))[0]
            return pid

    async def _ask(self, method: str, path: str) -> tuple[int, bytes]:
        assert self._session is not None
        try:
            async with self._session.request(method, f"http://envoy{path}") as response:
                return response.status, await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise DependencyUnavailable(f"Envoy's admin interface: {type(error).__name__}") from error

    async def ready(self) -> bool:
        """Live: initialised and not draining."""
        return (await self._ask("GET", "/ready"))[0] == 200

    async def active_secrets(self) -> dict[str, str]:
        """Generation in use of every dynamic secret that is active."""
        status, body = await self._ask("GET", "/config_dump?resource=dynamic_active_secrets")
        if status != 200:
            return {}
        dump = msgspec.json.decode(body, type=_Dump)
        return {
            secret.name: generation_of(secret.name, secret.version_info)
            for secret in dump.configs
            if secret.version_info and secret.version_info != "uninitialized"
        }

    async def version(self) -> str:
        """For instance "1.40.0"."""
        _, body = await self._ask("GET", "/server_info")
        parts = msgspec.json.decode(body, type=_Info).version.split("/")
        return parts[1] if len(parts) > 1 else parts[0]

    async def active_requests(self) -> int:
        """Requests in flight, this interface's own not counted."""
        path = "/stats?format=json&filter=^http%5C..*%5C.downstream_rq_active$"
        stats = msgspec.json.decode((await self._ask("GET", path))[1], type=_Stats)
        return int(sum(stat.value for stat in stats.stats if not stat.name.startswith("http.admin.")))

    async def access_log(self) -> tuple[int, int]:
        """Entries that the access log took so far, and entries that it dropped."""
        path = "/stats?format=json&filter=^access_logs%5C.grpc_access_log%5C.logs_"
        stats = msgspec.json.decode((await self._ask("GET", path))[1], type=_Stats).stats
        counts = {stat.name.rpartition("_")[2]: int(stat.value) for stat in stats}
        return counts.get("written", 0), counts.get("dropped", 0)

    async def drain(self, deadline: float) -> None:
        """Tell clients to leave, take no new connections, wait for running requests up to `deadline` seconds."""
        end = time.monotonic() + deadline
        await self._ask("POST", "/healthcheck/fail")
        await self._ask("POST", "/drain_listeners?graceful")
        while time.monotonic() < end and await self.active_requests() > 0:  # noqa: ASYNC110 - Envoy has no event for it
            await asyncio.sleep(0.1)

    async def quit(self) -> None:
        """End this Envoy at once."""
        await self._ask("POST", "/quitquitquit")
