"""One secret, a real OpenBao, a real store and a provider over a unix socket; sidecars are a table of what they show."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from control_plane.policies.definitions import Definitions
from control_plane.secrets.definition import HttpProvider, SecretDefinition, encode_definition
from control_plane.secrets.rotation.barriers import Use
from control_plane.secrets.rotation.engine import RotationEngine
from control_plane.secrets.rotation.machine import Phase, Rotation
from control_plane.secrets.rotation.settings import RotationSettings
from control_plane.secrets.vault import Vault
from control_plane.store.base import SecretRow, Store
from control_plane.store.sql.store import open_store

QUICK = RotationSettings(lease=0.0, soak=0.05, drain=0.05, poll=0.05, tick=0.01)


@dataclass
class Provider:
    """The verifier's side, in this process: keys by id, as the example model has them."""

    keys: dict[str, tuple[str, str]] = field(default_factory=dict)
    made: int = 0
    down: bool = False
    after: Callable[[str], None] = lambda _: None

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/keys", self.create)
        app.router.add_get("/keys", self.listed)
        app.router.add_get("/keys/verify", self.verify)
        app.router.add_delete("/keys/{id}", self.revoke)
        return app

    async def create(self, request: web.Request) -> web.Response:
        if self.down:
            return web.Response(status=503)
        self.made += 1
        key_id, key = f"id{self.made}", secrets.token_hex(16)
        self.keys[key_id] = ((await request.json())["name"], key)
        return web.json_response({"id": key_id, "key": key})

    async def listed(self, _: web.Request) -> web.Response:
        return web.json_response([{"id": key_id, "name": name} for key_id, (name, _) in self.keys.items()])

    async def verify(self, request: web.Request) -> web.Response:
        good = request.headers.get("x-model-key") in {key for _, key in self.keys.values()}
        return web.Response(status=200 if good else 401)

    async def revoke(self, request: web.Request) -> web.Response:
        return web.Response(status=204 if self.keys.pop(request.match_info["id"], None) else 404)


@dataclass
class Scene:
    store: Store
    vault: Vault
    provider: Provider
    definition: SecretDefinition
    nodes: dict[str, str] = field(default_factory=dict)
    """Sidecars and the generation they show."""
    lost: set[str] = field(default_factory=set)
    """Those that are cut off: they go on with what they have."""
    sent: list[tuple[int, str]] = field(default_factory=list)
    deaf: bool = False

    async def publish(self, name: str, generation: int, value: str | None) -> None:
        assert name == self.definition.name
        if value is None:
            return
        self.sent.append((generation, value))
        if not self.deaf:
            self.nodes = {
                node: used if node in self.lost else str(generation) for node, used in self.nodes.items()
            }

    async def users(self, name: str) -> Mapping[str, Use]:
        assert name == self.definition.name
        return {node: Use(used, lost=node in self.lost) for node, used in self.nodes.items()}

    def engine(self, settings: RotationSettings = QUICK, holder: str = "replica-1") -> RotationEngine:
        return RotationEngine(
            store=self.store,
            backend=self.vault,
            publish=self.publish,
            users=self.users,
            holder=holder,
            settings=settings,
        )

    def definitions(self, engine: RotationEngine) -> Definitions:
        """What the API asks of this engine."""
        return Definitions(self.store, lambda: engine)

    async def until(
        self, engine: RotationEngine, *phases: Phase, more: Callable[[Rotation], bool] = lambda _: True
    ) -> Rotation:
        async with asyncio.timeout(60):
            while True:
                await engine.advance_all()
                state = await engine.status(self.definition.name)
                if state is not None and state.phase in phases and more(state):
                    return state
                await asyncio.sleep(0.01)

    def accepted(self) -> set[str]:
        return {key for _, key in self.provider.keys.values()}


@asynccontextmanager
async def rotation_scene(vault: Vault, folder: Path) -> AsyncIterator[Scene]:
    """A store with one definition, and its provider."""
    async with asyncio.timeout(60):
        while not (await vault.check()).healthy:
            await asyncio.sleep(0.1)
    provider = Provider()
    runner = web.AppRunner(provider.app())
    await runner.setup()
    await web.UnixSite(runner, str(folder / "keys.sock")).start()
    store = await open_store(f"sqlite+aiosqlite:///{folder}/store.db")
    definition = SecretDefinition(
        name="upstream",
        path=f"secrets/{secrets.token_hex(4)}",
        provider=HttpProvider(socket=str(folder / "keys.sock")),
    )
    now = time.time()
    async with store.begin() as work:
        await work.secrets.put(
            SecretRow(
                name=definition.name,
                definition=encode_definition(definition),
                created_at=now,
                created_by="test",
                updated_at=now,
            )
        )
    yield Scene(store, vault, provider, definition)
    await store.close()
    await runner.cleanup()
