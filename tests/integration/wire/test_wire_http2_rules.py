"""Peers that break HTTP/2's rules, frame by frame: the stream or the connection ends, the server lives on."""

from __future__ import annotations

import asyncio
import struct

import pytest

from tests.integration.wire import raw_h2 as h2
from tests.integration.wire.conftest import Serve
from tests.integration.wire.raw_h2 import U32, block, data, frame, message, opened, request

BROKEN_CONNECTIONS: dict[str, tuple[bytes, int | None]] = {
    "data on stream 0": (frame(h2.DATA, 0, 0, b"x"), h2.PROTOCOL_ERROR),
    "headers on stream 0": (frame(h2.HEADERS, 5, 0, block()), h2.PROTOCOL_ERROR),
    "headers on an even stream": (frame(h2.HEADERS, 5, 2, block()), h2.PROTOCOL_ERROR),
    "data on an idle stream": (frame(h2.DATA, 0, 9, b"x"), h2.PROTOCOL_ERROR),
    "reset of an idle stream": (frame(h2.RST_STREAM, 0, 9, U32.pack(0)), h2.PROTOCOL_ERROR),
    "window update of an idle stream": (frame(h2.WINDOW_UPDATE, 0, 9, U32.pack(1)), h2.PROTOCOL_ERROR),
    "reset on stream 0": (frame(h2.RST_STREAM, 0, 0, U32.pack(0)), h2.PROTOCOL_ERROR),
    "reset of a wrong size": (
        frame(h2.HEADERS, 4, 1, block()) + frame(h2.RST_STREAM, 0, 1, b"x"),
        h2.FRAME_SIZE_ERROR,
    ),
    "settings on a stream": (frame(h2.SETTINGS, 0, 1), h2.PROTOCOL_ERROR),
    "settings of a wrong size": (frame(h2.SETTINGS, 0, 0, b"xxx"), h2.FRAME_SIZE_ERROR),
    "settings ack with a payload": (frame(h2.SETTINGS, 1, 0, bytes(6)), h2.FRAME_SIZE_ERROR),
    "settings with a window beyond 2^31": (
        frame(h2.SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 31)),
        h2.FLOW_CONTROL_ERROR,
    ),
    "settings with push of 2": (frame(h2.SETTINGS, 0, 0, struct.pack(">HI", 2, 2)), h2.PROTOCOL_ERROR),
    "settings with too small a frame": (
        frame(h2.SETTINGS, 0, 0, struct.pack(">HI", 5, 1)),
        h2.PROTOCOL_ERROR,
    ),
    "ping of a wrong size": (frame(h2.PING, 0, 0, b"1234567"), h2.FRAME_SIZE_ERROR),
    "ping on a stream": (frame(h2.PING, 0, 1, bytes(8)), h2.PROTOCOL_ERROR),
    "goaway on a stream": (frame(h2.GOAWAY, 0, 1, bytes(8)), h2.PROTOCOL_ERROR),
    "window update of 0": (frame(h2.WINDOW_UPDATE, 0, 0, U32.pack(0)), h2.PROTOCOL_ERROR),
    "window beyond 2^31": (frame(h2.WINDOW_UPDATE, 0, 0, U32.pack(0x7FFFFFFF)), h2.FLOW_CONTROL_ERROR),
    "window update of a wrong size": (frame(h2.WINDOW_UPDATE, 0, 0, b"xxx"), h2.FRAME_SIZE_ERROR),
    "oversize frame": (frame(h2.DATA, 0, 1, bytes(16_385)), h2.FRAME_SIZE_ERROR),
    "announced oversize frame": (frame(h2.HEADERS, 4, 1, b"", length=0xFFFFFF), h2.FRAME_SIZE_ERROR),
    "continuation of nothing": (frame(h2.CONTINUATION, 4, 1, block()), h2.PROTOCOL_ERROR),
    "data inside of a header block": (
        frame(h2.HEADERS, 0, 1, block()) + frame(h2.DATA, 0, 1, b"x"),
        h2.PROTOCOL_ERROR,
    ),
    "another stream inside of a header block": (
        frame(h2.HEADERS, 0, 1, block()) + frame(h2.HEADERS, 4, 3, block()),
        h2.PROTOCOL_ERROR,
    ),
    "push promise from a client": (frame(h2.PUSH_PROMISE, 4, 1, bytes(4) + block()), h2.PROTOCOL_ERROR),
    "broken header compression": (frame(h2.HEADERS, 5, 1, b"\xff" * 7), h2.COMPRESSION_ERROR),
    "index beyond the table": (frame(h2.HEADERS, 5, 1, b"\xfe"), h2.COMPRESSION_ERROR),
    "padding longer than the frame": (
        frame(h2.HEADERS, 4, 1, block()) + frame(h2.DATA, h2.PADDED, 1, b"\xff" + b"x" * 10),
        h2.PROTOCOL_ERROR,
    ),
}


@pytest.mark.parametrize("name", BROKEN_CONNECTIONS)
async def test_a_broken_rule_of_the_connection_ends_it_and_no_other(serve_http2: Serve, name: str) -> None:
    sent, code = BROKEN_CONNECTIONS[name]
    async with serve_http2() as running:
        peer = await running.connect()
        await peer.send(sent)
        await peer.end()
        assert peer.goaway == code
        await running.works()


@pytest.mark.parametrize(
    "hello",
    [
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        bytes(64),
        h2.PREFACE[:-1] + b"x" + frame(h2.SETTINGS),
        h2.PREFACE + frame(h2.PING, 0, 0, bytes(8)),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    ],
)
async def test_what_does_not_begin_as_http2_is_closed(serve_http2: Serve, hello: bytes) -> None:
    async with serve_http2() as running:
        peer = await running.connect(hello=False)
        await peer.send(hello)
        await peer.end()
        await running.works()


async def test_a_silent_peer_is_closed(serve_http2: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve_http2() as running:
        with monkeypatch.context() as patch:
            patch.setattr("sidecar.wire.http2_protocol.PREFACE_SECONDS", 0.05)
            peer = await running.connect(hello=False)
            await peer.end()
        await running.works()


BROKEN_STREAMS: dict[str, bytes] = {
    "upper case header": frame(h2.HEADERS, 5, 1, block() + h2.literal(b"X-Upper", b"x")),
    "connection header": frame(h2.HEADERS, 5, 1, block() + h2.literal(b"connection", b"close")),
    "pseudo header after a header": frame(h2.HEADERS, 5, 1, block() + h2.literal(b":path", b"/x")),
    "unknown pseudo header": frame(h2.HEADERS, 5, 1, h2.literal(b":nonsense", b"x") + block()),
    "no path": frame(h2.HEADERS, 5, 1, block(p_path=None)),
    "no method": frame(h2.HEADERS, 5, 1, block(p_method=None)),
    "content-length that lies": opened(content_length=b"1") + data(message(b"x")),
    "trailers that do not end": opened() + frame(h2.HEADERS, h2.END_HEADERS, 1, h2.literal(b"x", b"y")),
    "window beyond 2^31": opened() + frame(h2.WINDOW_UPDATE, 0, 1, U32.pack(0x7FFFFFFF)),
    "depends on itself": frame(h2.HEADERS, 5 | h2.WITH_PRIORITY, 1, U32.pack(1) + b"\0" + block()),
}


@pytest.mark.parametrize("name", BROKEN_STREAMS)
async def test_a_broken_rule_of_one_stream_never_gets_a_good_answer_nor_harms_others(
    serve_http2: Serve, name: str
) -> None:
    async with serve_http2() as running:
        peer = await running.connect()
        await peer.send(BROKEN_STREAMS[name], request(3))
        if name != "depends on itself":  # RFC 9113 took priorities out of the protocol
            answer = await peer.answer(1)
            assert answer.reset is not None or peer.goaway is not None
            assert answer.status is None
        assert (await peer.answer(3)).status == 0 or peer.goaway is not None
        await peer.close()
        await running.works()


async def test_a_stream_number_below_the_highest_is_not_served(serve_http2: Serve) -> None:
    async with serve_http2() as running:
        peer = await running.connect()
        await peer.send(request(5), request(3), request(7))
        assert (await peer.answer(5)).status == 0
        assert (await peer.answer(7)).status == 0 or peer.goaway is not None
        assert 3 not in peer.streams
        assert len(running.handlers.calls) <= 2
        await running.works()


@pytest.mark.parametrize(
    "late", [frame(h2.DATA, 0, 1, b"x"), frame(h2.HEADERS, 5, 1, block())], ids=["data", "headers"]
)
async def test_frames_after_the_end_of_a_stream_are_an_error(serve_http2: Serve, late: bytes) -> None:
    async with serve_http2() as running:
        peer = await running.connect()
        await peer.send(opened(b"/test.S/Hang") + data(message(b"x")) + late)
        answer = await peer.answer(1)
        assert h2.STREAM_CLOSED in {answer.reset, peer.goaway}
        await peer.close()
        await running.works()


async def test_priority_and_unknown_frames_mean_nothing(serve_http2: Serve) -> None:
    async with serve_http2() as running:
        peer = await running.connect()
        await peer.send(
            frame(h2.PRIORITY, 0, 1, U32.pack(0) + b"\x10"),
            frame(h2.PRIORITY, 0, 7, U32.pack(1) + b"\x10"),
            frame(77, 255, 0, b"what"),
            frame(h2.SETTINGS, 0, 0, struct.pack(">HI", 0xABCD, 5)),
            frame(h2.PING, 0, 0, b"12345678"),
            request(1),
        )
        assert (await peer.answer(1)).status == 0
        assert (peer.pongs, peer.settings_acks) == (1, 2)
        await peer.close()


async def test_padding_is_no_part_of_a_message(serve_http2: Serve) -> None:
    async with serve_http2() as running:
        peer = await running.connect()
        padded = b"\x20" + message(b"hello") + bytes(32)
        await peer.send(opened(), frame(h2.DATA, h2.PADDED | h2.END_STREAM, 1, padded))
        assert (await peer.answer(1)).data == message(b"hello")
        await peer.close()


async def test_a_header_block_may_come_in_pieces_and_trailers_may_end_a_call(serve_http2: Serve) -> None:
    async with serve_http2() as running:
        peer = await running.connect()
        whole = block()
        await peer.send(
            frame(h2.HEADERS, 0, 1, whole[:20]),
            frame(h2.CONTINUATION, 0, 1, whole[20:50]),
            frame(h2.CONTINUATION, h2.END_HEADERS, 1, whole[50:]),
            data(message(b"x"), 0),
            frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 1, h2.literal(b"x-last", b"y")),
        )
        assert (await peer.answer(1)).status == 0
        await peer.close()


@pytest.mark.parametrize("size", [1, 2, 7])
async def test_bytes_may_come_in_any_pieces(serve_http2: Serve, size: int) -> None:
    async with serve_http2() as running:
        peer = await running.connect()
        sent = request(1)
        for start in range(0, len(sent), size):
            await peer.send(sent[start : start + size])
            await asyncio.sleep(0)
        assert (await peer.answer(1)).data == message(b"hello")
        await peer.close()
