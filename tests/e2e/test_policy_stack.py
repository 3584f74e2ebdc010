"""Fields that only the whole chain can prove: a provider's credential (from OpenBao), and who is selected."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml
from aiohttp import web

from tests.support.control_plane_stand import Stand, stand
from tests.support.raw_model import RawModel

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.xdist_group("policy-stack"),
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="chain")
async def _chain() -> AsyncIterator[Stand]:
    async with stand() as made:
        yield made


@contextlib.asynccontextmanager
async def provider(socket: str) -> AsyncIterator[dict[str, str]]:
    """A key service; yields its keys by id."""
    keys: dict[str, str] = {}

    async def create(request: web.Request) -> web.Response:
        name = (await request.json())["name"]
        keys[name] = secrets.token_hex(12)
        return web.json_response({"id": name, "key": keys[name]})

    async def listing(_request: web.Request) -> web.Response:
        return web.json_response([{"id": name, "name": name} for name in keys])

    async def verify(request: web.Request) -> web.Response:
        return web.Response(status=200 if request.headers.get("x-model-key") in keys.values() else 401)

    async def revoke(request: web.Request) -> web.Response:
        keys.pop(request.match_info["id"], None)
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/keys", create)
    app.router.add_get("/keys", listing)
    app.router.add_get("/keys/verify", verify)
    app.router.add_delete("/keys/{id}", revoke)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, socket).start()
    try:
        yield keys
    finally:
        await runner.cleanup()


async def enforce(chain: Stand, **model: Any) -> None:
    document = yaml.safe_load(chain.document())
    document["spec"]["model"] |= model
    async with chain.stack.client() as client:
        applied = await client.apply(yaml.safe_dump(document))
    await chain.enforced(applied.version)


async def test_a_credential_goes_where_the_policy_says(chain: Stand) -> None:
    model = RawModel()
    async with (
        provider(str(chain.stack.state / "one.sock")) as one,
        provider(str(chain.stack.state / "two.sock")) as two,
        chain.stack.client() as client,
    ):
        for name in ("one", "two"):
            where = {"kind": "http", "socket": str(chain.stack.state / f"{name}.sock")}
            await client.put_secret(
                name, {"name": name, "class": "provider", "path": f"models/{name}", "provider": where}
            )
            await client.wait_rotated(name, timeout_seconds=60)
        first, second = next(iter(one.values())), next(iter(two.values()))
        for credential, header, expected in (
            ({"secret": "one", "header": "x-model-key"}, "x-model-key", first),
            ({"secret": "two", "header": "x-model-key"}, "x-model-key", second),
            ({"secret": "two", "header": "x-elsewhere"}, "x-elsewhere", second),
            ({"secret": "two", "prefix": "Bearer "}, "authorization", f"Bearer {second}"),
        ):
            await enforce(chain, port=model.port, credential=credential)
            assert await chain.ask() == 200
            sent = model.received[-1].headers
            assert sent.get(header) == expected, credential
            assert [name for name, value in sent.items() if value.endswith((first, second))] == [header]
    model.down()


async def test_a_policy_reaches_only_whom_it_selects(chain: Stand) -> None:
    await enforce(chain)
    assert await chain.ask() == 200
    async with chain.stack.client() as client:
        await client.apply(chain.document(app="elsewhere"))

    async def gone() -> bool:
        try:
            return await chain.ask() != 200
        except aiohttp.ClientConnectionError:
            return True

    await chain.until(gone)
    await enforce(chain)
    assert await chain.ask() == 200
