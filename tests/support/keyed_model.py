"""A model that wants a key, and the service that makes, lists, verifies and revokes such keys on a private socket."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from bartizan.local.processes import free_port


class Model:
    """Answers who has a key that it knows; makes, lists, verifies and revokes them on a private socket."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.port = free_port()
        self.keys: dict[str, tuple[str, str]] = {}
        self.refused = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Model]:
        served, keys = web.Application(), web.Application()
        served.router.add_post("/predict", self._predict)
        keys.router.add_post("/keys", self._create)
        keys.router.add_get("/keys", self._list)
        keys.router.add_get("/keys/verify", self._verify)
        keys.router.add_delete("/keys/{id}", self._revoke)
        runners = [web.AppRunner(each, access_log=None) for each in (served, keys)]
        for runner in runners:
            await runner.setup()
        await web.TCPSite(runners[0], "127.0.0.1", self.port).start()
        await web.UnixSite(runners[1], str(self.socket)).start()
        try:
            yield self
        finally:
            for runner in runners:
                await runner.cleanup()

    def _knows(self, request: web.Request) -> bool:
        return request.headers.get("x-model-key") in {key for _, key in self.keys.values()}

    async def _predict(self, request: web.Request) -> web.Response:
        await request.read()
        if not self._knows(request):
            self.refused += 1
            return web.Response(status=401)
        return web.json_response({"label": "good"})

    async def _create(self, request: web.Request) -> web.Response:
        key_id, key = secrets.token_hex(4), secrets.token_hex(16)
        self.keys[key_id] = ((await request.json())["name"], key)
        return web.json_response({"id": key_id, "key": key})

    async def _list(self, _: web.Request) -> web.Response:
        return web.json_response([{"id": key_id, "name": name} for key_id, (name, _) in self.keys.items()])

    async def _verify(self, request: web.Request) -> web.Response:
        return web.Response(status=200 if self._knows(request) else 401)

    async def _revoke(self, request: web.Request) -> web.Response:
        return web.Response(status=204 if self.keys.pop(request.match_info["id"], None) else 404)
