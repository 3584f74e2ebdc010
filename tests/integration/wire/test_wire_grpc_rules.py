"""Peers that break gRPC's rules, frame by frame: the call ends with its status, the connection goes on."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.wire import raw_h2 as h2
from tests.integration.wire.conftest import Serve
from tests.integration.wire.raw_h2 import block, data, frame, message, opened, request


async def test_a_call_is_answered_with_headers_message_and_trailers(serve_http2: Serve) -> None:
    async with serve_http2() as running:
        peer = await running.connect()
        await peer.send(request(1), request(3, b"x" * 100))
        one, three = await peer.answer(1), await peer.answer(3)
        assert (one.status, one.headers[b":status"], one.headers[b"content-type"]) == (
            0,
            b"200",
            b"application/grpc",
        )
        assert (one.data, three.data) == (message(b"hello"), message(b"x" * 100))
        await peer.close()


HELLO = data(message(b"x"))
BROKEN_CALLS: dict[str, tuple[bytes, int]] = {
    "unknown path": (opened(b"/test.S/None") + HELLO, 12),
    "te is missing": (opened(te=None) + HELLO, 13),
    "malformed timeout": (opened(grpc_timeout=b"123456789S") + HELLO, 13),
    "timeout without unit": (opened(grpc_timeout=b"1") + HELLO, 13),
    "timeout of nothing": (opened(grpc_timeout=b"0n") + HELLO, 4),
    "compressed message": (opened(grpc_encoding=b"gzip") + data(message(b"x", flag=1)), 12),
    "unknown flag": (opened() + data(message(b"x", flag=2)), 13),
    "no message": (opened() + data(b""), 12),
    "no body": (frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 1, block()), 12),
    "two messages": (opened() + data(message(b"x") + message(b"y")), 12),
    "two messages without an end": (opened() + data(message(b"x") + message(b"y"), 0), 12),
    "truncated head": (opened() + data(b"\0\0\0"), 13),
    "truncated message": (opened() + data(message(b"hello")[:-1]), 13),
    "message over the limit": (opened() + data(b"\0\xff\xff\xff\xff", 0), 8),
    "message over the limit in pieces": (
        opened() + data(b"\0\0\x10", 0) + data(b"\0", 0) + data(b"\1x", 0),
        8,
    ),
    "stream: truncated message": (opened(b"/test.S/Both") + data(message(b"hello")[:-1]), 13),
    "stream: truncated head": (opened(b"/test.S/Both") + data(b"\0\0"), 13),
    "stream: compressed message": (opened(b"/test.S/Both") + data(message(b"x", flag=1), 0), 12),
    "stream: unknown flag": (opened(b"/test.S/Both") + data(message(b"x", flag=255), 0), 13),
    "stream: message over the limit": (opened(b"/test.S/Both") + data(b"\0\xff\xff\xff\xff", 0), 8),
    "stream: bad message after a good one": (
        opened(b"/test.S/Both") + data(message(b"good") + message(b"x", flag=9)),
        13,
    ),
    "too much metadata": (
        frame(
            h2.HEADERS,
            h2.END_HEADERS,
            1,
            block() + b"".join(h2.literal(b"x-%d" % number, b"v" * 120) for number in range(110)),
        )
        + HELLO,
        8,
    ),
}


@pytest.mark.parametrize("name", BROKEN_CALLS)
async def test_a_broken_call_ends_with_its_status_and_the_connection_goes_on(
    serve_http2: Serve, name: str
) -> None:
    sent, code = BROKEN_CALLS[name]
    async with serve_http2(max_message=1 << 20) as running:
        peer = await running.connect()
        await peer.send(sent)
        answer = await peer.answer(1)
        assert (answer.headers[b":status"], answer.status) == (b"200", code)
        await peer.send(request(3))
        assert (await peer.answer(3)).status == 0
        assert peer.goaway is None
        await peer.close()


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"content_type": b"text/plain"}, b"415"),
        ({"content_type": None}, b"415"),
        ({"content_type": b"application/grpc-web"}, b"415"),
        ({"p_method": b"GET"}, b"405"),
        ({"p_method": b"PUT"}, b"405"),
    ],
)
async def test_what_is_not_grpc_gets_an_http_status(
    serve_http2: Serve, changes: dict[str, Any], status: bytes
) -> None:
    async with serve_http2() as running:
        peer = await running.connect()
        await peer.send(opened(**changes) + HELLO, request(3))
        answer = await peer.answer(1)
        assert (answer.headers[b":status"], answer.status) == (status, None)
        assert (await peer.answer(3)).status == 0
        await peer.close()


@pytest.mark.parametrize(
    "kind", [b"application/grpc", b"application/grpc+proto", b"application/grpc;charset=x"]
)
async def test_every_grpc_content_type_is_taken(serve_http2: Serve, kind: bytes) -> None:
    async with serve_http2() as running:
        peer = await running.connect()
        await peer.send(opened(content_type=kind) + HELLO)
        assert (await peer.answer(1)).status == 0
        await peer.close()
