"""The trust document over HTTP: read to its end however it comes, and no further than its bound."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from bartizan.errors import TrustError
from bartizan.identity import TrustDocument
from sidecar.agent.trust import MAX_BYTES, fetch_trust, read_trust_file

DOCUMENT = TrustDocument(trust_domain="test.local", roots=("root",), verification_keys={"key": "x"})


@contextlib.asynccontextmanager
async def serving(*pieces: bytes) -> AsyncIterator[str]:
    async def trust(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        for piece in pieces:
            await answer.write(piece)
            await asyncio.sleep(0.005)
        return answer

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    app = web.Application()
    app.router.add_get("/v1/trust", trust)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_a_document_in_pieces_is_read_to_its_end() -> None:
    raw = DOCUMENT.encode()
    async with serving(raw[:10], raw[10:20], raw[20:]) as api:
        assert await fetch_trust(api, DOCUMENT.digest()) == DOCUMENT


@pytest.mark.parametrize("raw", [b"{}", b'{"trust_domain": "\xff"}'])
async def test_what_is_no_document_is_refused(raw: bytes, tmp_path: Path) -> None:
    async with serving(raw) as api:
        with pytest.raises(TrustError, match="can't be read"):
            await fetch_trust(api, DOCUMENT.digest())
    file = tmp_path / "trust.json"
    file.write_bytes(raw)
    with pytest.raises(TrustError, match="is no trust document"):
        read_trust_file(file)


async def test_a_document_beyond_the_bound_is_refused() -> None:
    async with serving(*[b" " * 65536] * (MAX_BYTES // 65536 + 1), DOCUMENT.encode()) as api:
        with pytest.raises(TrustError, match="too long"):
            await fetch_trust(api, DOCUMENT.digest())
