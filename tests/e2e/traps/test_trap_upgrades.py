"""Traps of upgrades: on a route whose bodies are read they dead-lock Envoy, or pass frames that nobody reads."""

from __future__ import annotations

import asyncio

import pytest

from tests.integration.wire import raw_h2 as h2
from tests.integration.wire.raw_h2 import RawPeer, frame, literal
from tests.support.watched_guard import KEY, PATH, Stand, chat, head, in_chunks, with_length

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("traps"), pytest.mark.asyncio(loop_scope="module")]

WEBSOCKET = (
    "connection: Upgrade",
    "upgrade: websocket",
    "sec-websocket-version: 13",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
)


def upgrade(method: str, path: str, *headers: str, key: str = KEY) -> bytes:
    return head(*headers, method=method, path=path, key=key).replace(b"connection: close\r\n", b"")


UPGRADES: dict[str, bytes] = {
    "websocket by GET": upgrade("GET", "/v1/models", *WEBSOCKET),
    "websocket by POST with a body": upgrade("POST", PATH, *WEBSOCKET, "content-length: 5") + b"hello",
    "websocket by POST without a length": upgrade("POST", PATH, *WEBSOCKET),
    "websocket in chunks": upgrade("POST", PATH, *WEBSOCKET, "transfer-encoding: chunked")
    + b"5\r\nhello\r\n",
    "websocket without a key": upgrade("GET", "/v1/models", *WEBSOCKET, key=""),
    "of no known name": upgrade("GET", "/v1/models", "connection: Upgrade", "upgrade: tls/1.2"),
    "CONNECT": b"CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\nx-api-key: " + KEY.encode() + b"\r\n\r\n",
}


@pytest.mark.parametrize("name", UPGRADES)
async def test_an_upgrade_is_refused_at_once_before_any_guard(stand: Stand, name: str) -> None:
    """envoy#47161, #47081: an upgrade on a route with BUFFERED or FULL_DUPLEX_STREAMED bodies dead-locks; in STREAMED raw
    frames pass that no check can read. No policy serves one.
    """
    async with asyncio.timeout(60):
        reply = await stand.send(UPGRADES[name], one_answer=True)
    assert reply.status in {400, 403, 404, 426}
    assert b"101 Switching" not in reply.raw
    assert not stand.model.received
    assert not stand.guard.exchanges


async def test_an_extended_connect_over_http2_is_refused_at_once(stand: Stand) -> None:
    """RFC 8441 carries websockets over HTTP/2; the server did not offer it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
    peer = RawPeer(reader, writer)
    fields = {
        b":method": b"CONNECT",
        b":protocol": b"websocket",
        b":scheme": b"http",
        b":path": PATH.encode(),
        b":authority": b"a",
        b"x-api-key": KEY.encode(),
    }
    block = b"".join(literal(name, value) for name, value in fields.items())
    await peer.send(
        h2.PREFACE,
        frame(h2.SETTINGS),
        frame(h2.SETTINGS, h2.ACK),
        frame(h2.HEADERS, h2.END_HEADERS, 1, block),
    )
    answer = await peer.answer(1)
    await peer.close()
    assert answer.headers.get(b":status") != b"200"
    assert not stand.model.received


async def test_a_client_that_expects_100_is_told_so_once_and_the_body_is_judged(stand: Stand) -> None:
    """Expect: 100-continue before a BUFFERED body: the guard's verdict still comes first, and no 100 of the model's."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
    body = chat("secret words", model="beta")
    writer.write(head(f"content-length: {len(body)}", "expect: 100-continue"))
    async with asyncio.timeout(60):
        assert b"100 Continue" in await reader.readuntil(b"\r\n\r\n")
        writer.write(body)
        answered = await reader.read()
    writer.close()
    assert answered.startswith(b"HTTP/1.1 403")
    assert answered.count(b"HTTP/1.1 ") == 1
    assert not stand.model.received


@pytest.mark.parametrize("name", ["with a length", "in chunks"])
async def test_a_second_request_behind_a_refused_one_is_judged_by_itself(stand: Stand, name: str) -> None:
    """What follows a refusal on the same connection is either read as a request or not at all."""
    make = with_length if name == "with a length" else in_chunks
    refused = make(chat("secret words", model="beta")).replace(b"connection: close\r\n", b"")
    reply = await stand.send(refused + make(chat("hi")))
    assert reply.status == 403
    assert reply.answers <= 2
    assert len(stand.model.received) == reply.raw.count(b"HTTP/1.1 200")
