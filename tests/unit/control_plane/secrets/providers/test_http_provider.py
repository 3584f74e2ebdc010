"""The HTTP provider against a misbehaving service: every answer becomes a key, a verdict or one of our errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web

from bartizan.errors import DependencyRefused, DependencyUnavailable
from control_plane.secrets.definition import HttpProvider
from control_plane.secrets.providers.http import Http

KEY = "canary-77aa-key"


@dataclass
class Service:
    """Answers everything the same way and remembers the last request."""

    socket: Path
    status: int = 200
    body: str | bytes = ""
    hang: bool = False
    pieces: bool = False
    path: str = ""
    headers: dict[str, str] | None = None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.path = request.rel_url.raw_path
        self.headers = {name.lower(): value for name, value in request.headers.items()}
        if self.hang:
            await asyncio.sleep(30)
        if self.pieces:
            stream = web.StreamResponse()
            await stream.prepare(request)
            assert isinstance(self.body, str)
            for byte in self.body.encode():
                await stream.write(bytes([byte]))
                await asyncio.sleep(0.002)
            return stream
        location = {"location": "http://127.0.0.1:1/"} if 300 <= self.status < 400 else {}
        body = self.body.encode() if isinstance(self.body, str) else self.body
        return web.Response(status=self.status, body=body, headers=location)

    def provider(self, deadline: float = 60.0, **settings: str) -> Http:
        return Http(HttpProvider(socket=str(self.socket), **settings), deadline=deadline)


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    made = Service(tmp_path / "s.sock")
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", made.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, str(made.socket)).start()
    yield made
    await runner.cleanup()


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, "{}", DependencyRefused),
        (200, "<html>", DependencyRefused),
        (200, '{"id": 1, "key": 2}', DependencyRefused),
        (200, b'{"id": "\xff", "key": "k"}', DependencyRefused),
        (403, "", DependencyRefused),
        (302, "", DependencyRefused),
        (429, "", DependencyUnavailable),
        (503, "", DependencyUnavailable),
    ],
)
async def test_a_bad_answer_to_create_is_no_key(
    service: Service, status: int, body: str | bytes, expected: type[Exception]
) -> None:
    service.status, service.body = status, body
    with pytest.raises(expected):
        await service.provider().create("name")


async def test_create_and_list_are_read(service: Service) -> None:
    service.status, service.body = 201, '{"id": "a", "key": "k", "more": 1}'
    made = await service.provider().create("name")
    assert (made.id, made.key) == ("a", "k")
    assert "'k'" not in repr(made)
    service.status, service.body = 200, '[{"id": "a", "name": "n"}]'
    assert await service.provider().names() == {"a": "n"}


@pytest.mark.parametrize(("status", "verdict"), [(200, True), (204, True), (401, False), (403, False)])
async def test_the_verdict_is_the_verifiers(service: Service, status: int, verdict: bool) -> None:
    service.status = status
    assert await service.provider(key_header="x-k").accepts(KEY) is verdict
    assert service.headers is not None
    assert service.headers["x-k"] == KEY


@pytest.mark.parametrize("status", [302, 404, 429, 500, 503])
async def test_anything_else_is_no_verdict(service: Service, status: int) -> None:
    service.status = status
    with pytest.raises(DependencyUnavailable) as caught:
        await service.provider().accepts(KEY)
    assert KEY not in str(caught.value)


async def test_revoking_a_key_that_is_gone_is_fine_and_ids_cannot_leave_their_path(service: Service) -> None:
    service.status = 404
    await service.provider().revoke("../../admin?x")
    assert service.path == "/keys/..%2F..%2Fadmin%3Fx"


async def test_a_hung_or_absent_service_is_unavailable_within_the_deadline(service: Service) -> None:
    service.hang = True
    async with asyncio.timeout(20):
        with pytest.raises(DependencyUnavailable):
            await service.provider(deadline=0.5).accepts(KEY)
        with pytest.raises(DependencyUnavailable):
            await Http(HttpProvider(socket="/nonexistent/s.sock")).names()


async def test_a_key_that_is_no_header_value_is_refused_without_being_shown(service: Service) -> None:
    with pytest.raises(DependencyUnavailable) as caught:
        await service.provider().accepts(KEY + "\r\nx-evil: 1")
    assert KEY not in str(caught.value)


async def test_the_providers_own_token_goes_with_every_call(service: Service) -> None:
    service.body = "[]"
    settings = HttpProvider(socket=str(service.socket))
    await Http(settings, {"authorization": "Bearer canary-31d0"}).names()
    assert service.headers is not None
    assert service.headers["authorization"] == "Bearer canary-31d0"
    assert "canary" not in repr(settings)


async def test_an_answer_in_pieces_is_read_to_its_end(service: Service) -> None:
    service.body, service.pieces = '[{"id": "a", "name": "n"}]', True
    assert await service.provider().names() == {"a": "n"}


async def test_an_endless_answer_is_refused(service: Service) -> None:
    service.body = "[" + " " * (1024 * 1024) + "]"
    with pytest.raises(DependencyRefused, match="longer"):
        await service.provider().names()
