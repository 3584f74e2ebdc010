"""Peers that break HTTP/2's or gRPC's rules, frame by frame: the stream or the connection ends, the server lives on."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.wire import raw_h2 as h2
from tests.integration.wire.conftest import Serve, Served
from tests.integration.wire.raw_h2 import block, frame, message, request

U32 = struct.Struct(">I")


async def works(running: Served) -> None:
    """Another connection is served."""
    peer = await running.connect()
    await peer.send(request(1))
    answer = await peer.answer(1)
    assert answer.status == 0
    assert answer.data == message(b"hello")
    await peer.close()


async def test_a_call_is_answered_with_headers_message_and_trailers(serve_ngh2: Serve) -> None:
    async with serve_ngh2() as running:
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
async def test_a_broken_rule_of_the_connection_ends_it_and_no_other(serve_ngh2: Serve, name: str) -> None:
    sent, code = BROKEN_CONNECTIONS[name]
    async with serve_ngh2() as running:
        peer = await running.connect()
        await peer.send(sent)
        await peer.end()
        assert peer.goaway == code
        await works(running)


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
async def test_what_does_not_begin_as_http2_is_closed(serve_ngh2: Serve, hello: bytes) -> None:
    async with serve_ngh2() as running:
        peer = await running.connect(hello=False)
        await peer.send(hello)
        await peer.end()
        await works(running)


async def test_a_silent_peer_is_closed(serve_ngh2: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.wire.http2_protocol.PREFACE_SECONDS", 0.05)
    async with serve_ngh2() as running:
        peer = await running.connect(hello=False)
        await peer.end()
        await works(running)


def data(payload: bytes, flags: int = h2.END_STREAM) -> bytes:
    return frame(h2.DATA, flags, 1, payload)


def opened(path: bytes = b"/test.S/Echo", **changes: bytes | None) -> bytes:
    return frame(h2.HEADERS, h2.END_HEADERS, 1, block(path, **changes))


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
    serve_ngh2: Serve, name: str
) -> None:
    sent, code = BROKEN_CALLS[name]
    async with serve_ngh2(max_message=1 << 20) as running:
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
    serve_ngh2: Serve, changes: dict[str, Any], status: bytes
) -> None:
    async with serve_ngh2() as running:
        peer = await running.connect()
        await peer.send(opened(**changes) + HELLO, request(3))
        answer = await peer.answer(1)
        assert (answer.headers[b":status"], answer.status) == (status, None)
        assert (await peer.answer(3)).status == 0
        await peer.close()


@pytest.mark.parametrize(
    "kind", [b"application/grpc", b"application/grpc+proto", b"application/grpc;charset=x"]
)
async def test_every_grpc_content_type_is_taken(serve_ngh2: Serve, kind: bytes) -> None:
    async with serve_ngh2() as running:
        peer = await running.connect()
        await peer.send(opened(content_type=kind) + HELLO)
        assert (await peer.answer(1)).status == 0
        await peer.close()


BROKEN_STREAMS: dict[str, bytes] = {
    "upper case header": frame(h2.HEADERS, 5, 1, block() + h2.literal(b"X-Upper", b"x")),
    "connection header": frame(h2.HEADERS, 5, 1, block() + h2.literal(b"connection", b"close")),
    "pseudo header after a header": frame(h2.HEADERS, 5, 1, block() + h2.literal(b":path", b"/x")),
    "unknown pseudo header": frame(h2.HEADERS, 5, 1, h2.literal(b":nonsense", b"x") + block()),
    "no path": frame(h2.HEADERS, 5, 1, block(p_path=None)),
    "no method": frame(h2.HEADERS, 5, 1, block(p_method=None)),
    "content-length that lies": opened(content_length=b"1") + HELLO,
    "trailers that do not end": opened() + frame(h2.HEADERS, h2.END_HEADERS, 1, h2.literal(b"x", b"y")),
    "window beyond 2^31": opened() + frame(h2.WINDOW_UPDATE, 0, 1, U32.pack(0x7FFFFFFF)),
    "depends on itself": frame(h2.HEADERS, 5 | h2.WITH_PRIORITY, 1, U32.pack(1) + b"\0" + block()),
}


@pytest.mark.parametrize("name", BROKEN_STREAMS)
async def test_a_broken_rule_of_one_stream_never_gets_a_good_answer_nor_harms_others(
    serve_ngh2: Serve, name: str
) -> None:
    async with serve_ngh2() as running:
        peer = await running.connect()
        await peer.send(BROKEN_STREAMS[name], request(3))
        if name != "depends on itself":  # RFC 9113 took priorities out of the protocol
            answer = await peer.answer(1)
            assert answer.reset is not None or peer.goaway is not None
            assert answer.status is None
        assert (await peer.answer(3)).status == 0 or peer.goaway is not None
        await peer.close()
        await works(running)


async def test_a_stream_number_below_the_highest_is_not_served(serve_ngh2: Serve) -> None:
    async with serve_ngh2() as running:
        peer = await running.connect()
        await peer.send(request(5), request(3), request(7))
        assert (await peer.answer(5)).status == 0
        assert (await peer.answer(7)).status == 0 or peer.goaway is not None
        assert 3 not in peer.streams
        assert len(running.handlers.calls) <= 2
        await works(running)


@pytest.mark.parametrize(
    "late", [frame(h2.DATA, 0, 1, b"x"), frame(h2.HEADERS, 5, 1, block())], ids=["data", "headers"]
)
async def test_frames_after_the_end_of_a_stream_are_an_error(serve_ngh2: Serve, late: bytes) -> None:
    async with serve_ngh2() as running:
        peer = await running.connect()
        await peer.send(opened(b"/test.S/Hang") + HELLO + late)
        answer = await peer.answer(1)
        assert h2.STREAM_CLOSED in {answer.reset, peer.goaway}
        await peer.close()
        await works(running)


async def test_priority_and_unknown_frames_mean_nothing(serve_ngh2: Serve) -> None:
    async with serve_ngh2() as running:
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


async def test_padding_is_no_part_of_a_message(serve_ngh2: Serve) -> None:
    async with serve_ngh2() as running:
        peer = await running.connect()
        padded = b"\x20" + message(b"hello") + bytes(32)
        await peer.send(opened(), frame(h2.DATA, h2.PADDED | h2.END_STREAM, 1, padded))
        assert (await peer.answer(1)).data == message(b"hello")
        await peer.close()


async def test_a_header_block_may_come_in_pieces_and_trailers_may_end_a_call(serve_ngh2: Serve) -> None:
    async with serve_ngh2() as running:
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
async def test_bytes_may_come_in_any_pieces(serve_ngh2: Serve, size: int) -> None:
    async with serve_ngh2() as running:
        peer = await running.connect()
        sent = request(1)
        for start in range(0, len(sent), size):
            await peer.send(sent[start : start + size])
            await asyncio.sleep(0)
        assert (await peer.answer(1)).data == message(b"hello")
        await peer.close()


@pytest.mark.parametrize(
    "path", [b"/test.S/Echo", b"/test.S/EchoLater", b"/test.S/Hang", b"/test.S/HangStream"]
)
async def test_an_end_and_a_reset_in_one_read_harm_no_other_stream(serve_ngh2: Serve, path: bytes) -> None:
    async with serve_ngh2() as running:
        peer = await running.connect()
        for number in range(1, 401, 4):
            await peer.send(
                request(number, path=path)
                + frame(h2.RST_STREAM, 0, number, U32.pack(8))
                + request(number + 2)
            )
            assert (await peer.answer(number + 2)).status == 0
        assert peer.goaway is None
        if b"Hang" in path:
            await asyncio.wait_for(running.handlers.over.wait(), 10)
            while len(running.handlers.cancelled) < 100:  # every one of them got its CancelledError
                await asyncio.sleep(0.01)
        await peer.close()


async def test_a_worker_that_is_behind_does_no_work_for_callers_that_gave_up(serve_ngh2: Serve) -> None:
    async with serve_ngh2() as running:
        peer = await running.connect()
        await peer.send(frame(h2.PING, 0, 0, bytes(8)))
        while not peer.pongs:
            assert await peer.step()
        calls = b"".join(request(number) for number in range(1, 801, 2))
        resets = b"".join(frame(h2.RST_STREAM, 0, number, U32.pack(8)) for number in range(1, 799, 2))
        await peer.send(calls + resets)  # in one read
        assert (await peer.answer(799)).status == 0
        # few were answered before the cancellations behind them were read
        assert len(running.handlers.calls) <= 150


async def test_calls_beyond_the_limit_are_refused(serve_ngh2: Serve) -> None:
    async with serve_ngh2(max_calls=10) as running:
        peer = await running.connect(hello=False)
        # it does not know the limit yet: one that does and breaks it loses its connection
        await peer.send(
            h2.PREFACE + frame(h2.SETTINGS),
            *(request(number, path=b"/test.S/Hang") for number in range(1, 41, 2)),
        )
        for number in range(21, 41, 2):
            assert (await peer.answer(number)).reset == h2.REFUSED
        other = await running.connect()
        await other.send(request(1, path=b"/test.S/Hang"), request(3))
        assert (await other.answer(1)).status == 8
        assert (await other.answer(3)).status == 0
        await peer.close()
        await other.close()


async def test_more_resets_than_a_thousand_end_nobody_elses_call(serve_ngh2: Serve) -> None:
    """Envoy resets a call whenever a client goes away: impatient clients must not end the calls of others."""
    async with serve_ngh2() as running:
        peer = await running.connect()
        await peer.send(frame(h2.HEADERS, h2.END_HEADERS, 1, block(b"/test.S/Both")))
        for first in range(3, 6003, 200):
            numbers = range(first, first + 200, 2)
            await peer.send(*(frame(h2.HEADERS, h2.END_HEADERS, each, block()) for each in numbers))
            await peer.send(*(frame(h2.RST_STREAM, 0, each, U32.pack(8)) for each in numbers))
        await peer.send(data(message(b"still there")))
        answer = await peer.answer(1)
        assert (answer.status, answer.data) == (0, message(b"still there"))
        assert peer.goaway is None


async def test_more_data_than_the_window_ends_the_connection_or_stream(serve_ngh2: Serve) -> None:
    async with serve_ngh2() as running:
        peer = await running.connect()
        await peer.send(frame(h2.HEADERS, h2.END_HEADERS, 1, block(b"/test.S/Slow")))
        full = message(bytes(16_384 - 5))
        await peer.send(*(data(full, 0) for _ in range(16)))
        await peer.send(data(full, 0))
        answer = await peer.answer(1)
        assert h2.FLOW_CONTROL_ERROR in {answer.reset, peer.goaway}
        await peer.close()
        await works(running)


async def test_window_is_given_as_the_handler_takes_messages(serve_ngh2: Serve) -> None:
    async with serve_ngh2() as running:
        peer = await running.connect()
        await peer.send(frame(h2.HEADERS, h2.END_HEADERS, 1, block(b"/test.S/Slow")))
        await peer.send(
            *(data(message(bytes(16_384 - 5)), 0) for _ in range(16)), frame(h2.PING, 0, 0, bytes(8))
        )
        while not peer.pongs:
            assert await peer.step()
        assert 1 not in peer.credit
        running.handlers.proceed.set()
        while peer.credit.get(1, 0) < 131_072:
            assert await peer.step()
        await peer.close()


async def test_a_peer_that_sends_on_and_takes_no_replies_grows_no_queue(serve_ngh2: Serve) -> None:
    async with serve_ngh2() as running:
        peer = await running.connect()
        await peer.send(frame(h2.HEADERS, h2.END_HEADERS, 1, block(b"/test.S/Amplify")))
        for number in range(20):
            await peer.send(data(message(b"x") * 10, 0), frame(h2.PING, 0, 0, bytes(8)))
            while peer.pongs <= number:
                assert await peer.step()
        # 64 KiB went out, a quarter of a megabyte waits
        assert 4 <= running.handlers.yielded <= 8
        await peer.send(*(frame(h2.WINDOW_UPDATE, 0, number, U32.pack(1 << 30)) for number in (0, 1)))
        await peer.send(frame(h2.DATA, h2.END_STREAM, 1))
        answer = await peer.answer(1)
        assert (answer.status, len(answer.data)) == (0, 200 * (65_536 + 5))


async def test_replies_wait_for_the_peers_window(serve_ngh2: Serve) -> None:
    async with serve_ngh2() as running:
        peer = await running.connect()
        await peer.send(request(1, bytes(100_000)[:16_000] * 1))
        assert (await peer.answer(1)).status == 0
        await peer.send(frame(h2.SETTINGS, 0, 0, struct.pack(">HI", 4, 0)), request(3))
        await peer.send(frame(h2.PING, 0, 0, bytes(8)))
        while not peer.pongs:
            assert await peer.step()
        while 3 not in peer.streams:
            assert await peer.step()
        assert not peer.streams[3].data
        assert not peer.streams[3].ended
        await peer.send(frame(h2.WINDOW_UPDATE, 0, 3, U32.pack(7)))
        while len(peer.streams[3].data) < 7:
            assert await peer.step()
        await peer.send(frame(h2.WINDOW_UPDATE, 0, 3, U32.pack(1000)))
        assert (await peer.answer(3)).data == message(b"hello")
        await peer.close()


FLOODS: dict[str, Callable[[int], bytes]] = {
    "reset": lambda n: (
        request(2 * n + 1, path=b"/test.S/Hang") + frame(h2.RST_STREAM, 0, 2 * n + 1, U32.pack(8))
    ),
    "continuation": lambda n: (
        frame(h2.HEADERS, 0, 1, block()) if n == 0 else frame(h2.CONTINUATION, 0, 1, b"")
    ),
    "long header block": lambda n: (
        frame(h2.HEADERS, 0, 1, block())
        if n == 0
        else frame(h2.CONTINUATION, 0, 1, h2.literal(b"a", b"b") * 2000)
    ),
    "ping": lambda _: frame(h2.PING, 0, 0, bytes(8)),
    "settings": lambda _: frame(h2.SETTINGS, 0, 0, struct.pack(">HI", 4, 65_535)),
    "priority": lambda n: frame(h2.PRIORITY, 0, 2 * n + 1, U32.pack(0) + b"\x10"),
    "empty data": lambda n: opened(b"/test.S/Slow") if n == 0 else frame(h2.DATA, 0, 1),
    "window of one": lambda _: frame(h2.WINDOW_UPDATE, 0, 0, U32.pack(1)),
    "unknown frames": lambda _: frame(99, 0, 0, bytes(100)),
    "refused calls": lambda n: frame(h2.HEADERS, h2.END_HEADERS, 2 * n + 1, block(b"/test.S/None")),
}


@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_is_answered_or_ended_and_others_are_served(serve_ngh2: Serve, name: str) -> None:
    async with serve_ngh2() as running:
        peer = await running.connect()
        reading = asyncio.get_running_loop().create_task(peer.end())
        for start in range(0, 20_000, 200):
            if peer.ended:
                break
            await peer.send(*(FLOODS[name](number) for number in range(start, start + 200)))
        await works(running)
        await peer.close()
        await reading
        if name in {"continuation", "long header block", "empty data"}:
            assert peer.ended


async def test_a_peer_that_floods_and_reads_nothing_is_ended_or_held_back(serve_ngh2: Serve) -> None:
    async with serve_ngh2() as running:
        peer = await running.connect()
        sending = asyncio.get_running_loop().create_task(
            peer.send(*(frame(h2.PING, 0, 0, bytes(8)) for _ in range(200_000)))
        )
        await works(running)
        await peer.close()
        await sending


async def test_stop_says_goaway_twice_and_serves_what_was_on_its_way(serve_ngh2: Serve) -> None:
    async with serve_ngh2() as running:
        peer = await running.connect()
        await peer.send(frame(h2.HEADERS, h2.END_HEADERS, 1, block(b"/test.S/Both")), data(message(b"a"), 0))
        while not (1 in peer.streams and peer.streams[1].data):
            assert await peer.step()
        stopping = asyncio.get_running_loop().create_task(running.engine.stop(10))
        while peer.goaway is None:
            assert await peer.step()
        await peer.send(request(3))
        assert (await peer.answer(3)).status == 0
        await peer.send(data(message(b"b")))
        answer = await peer.answer(1)
        assert (answer.status, answer.data) == (0, message(b"a") + message(b"b"))
        await peer.end()
        await stopping
