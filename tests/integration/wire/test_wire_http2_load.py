"""Peers that send, reset and hold back as much as they can: windows and bounds hold, others are served."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable

import pytest

from tests.integration.wire import raw_h2 as h2
from tests.integration.wire.conftest import Serve
from tests.integration.wire.raw_h2 import U32, block, data, frame, message, opened, request


@pytest.mark.parametrize(
    "path", [b"/test.S/Echo", b"/test.S/EchoLater", b"/test.S/Hang", b"/test.S/HangStream"]
)
async def test_an_end_and_a_reset_in_one_read_harm_no_other_stream(serve_http2: Serve, path: bytes) -> None:
    async with serve_http2() as running:
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
            await asyncio.wait_for(running.handlers.over.wait(), 60)
            while len(running.handlers.cancelled) < 100:  # every one of them got its CancelledError
                await asyncio.sleep(0.01)
        await peer.close()


async def test_a_worker_that_is_behind_does_no_work_for_callers_that_gave_up(serve_http2: Serve) -> None:
    async with serve_http2() as running:
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


async def test_calls_beyond_the_limit_are_refused(serve_http2: Serve) -> None:
    async with serve_http2(max_calls=10) as running:
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
        assert len(running.handlers.cancelled) == 1, "its handler had begun: what it started ends, too"
        assert (await other.answer(3)).status == 0
        await peer.close()
        await other.close()


async def test_more_resets_than_a_thousand_end_nobody_elses_call(serve_http2: Serve) -> None:
    """Envoy resets a call whenever a client goes away: impatient clients must not end the calls of others."""
    async with serve_http2() as running:
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


async def test_more_data_than_the_window_ends_the_connection_or_stream(serve_http2: Serve) -> None:
    async with serve_http2() as running:
        peer = await running.connect()
        await peer.send(frame(h2.HEADERS, h2.END_HEADERS, 1, block(b"/test.S/Slow")))
        full = message(bytes(16_384 - 5))
        await peer.send(*(data(full, 0) for _ in range(16)))
        await peer.send(data(full, 0))
        answer = await peer.answer(1)
        assert h2.FLOW_CONTROL_ERROR in {answer.reset, peer.goaway}
        await peer.close()
        await running.works()


async def test_window_is_given_as_the_handler_takes_messages(serve_http2: Serve) -> None:
    async with serve_http2() as running:
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


async def test_a_peer_that_sends_on_and_takes_no_replies_grows_no_queue(serve_http2: Serve) -> None:
    async with serve_http2() as running:
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


async def test_replies_wait_for_the_peers_window(serve_http2: Serve) -> None:
    async with serve_http2() as running:
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
async def test_a_flood_is_answered_or_ended_and_others_are_served(serve_http2: Serve, name: str) -> None:
    async with serve_http2() as running:
        peer = await running.connect()
        reading = asyncio.get_running_loop().create_task(peer.end())
        for start in range(0, 20_000, 200):
            if peer.ended:
                break
            await peer.send(*(FLOODS[name](number) for number in range(start, start + 200)))
        await running.works()
        await peer.close()
        await reading
        if name in {"continuation", "long header block", "empty data"}:
            assert peer.ended


async def test_a_peer_that_floods_and_reads_nothing_is_ended_or_held_back(serve_http2: Serve) -> None:
    async with serve_http2() as running:
        peer = await running.connect()
        sending = asyncio.get_running_loop().create_task(
            peer.send(*(frame(h2.PING, 0, 0, bytes(8)) for _ in range(200_000)))
        )
        await running.works()
        await peer.close()
        await sending


async def test_stop_says_goaway_twice_and_serves_what_was_on_its_way(serve_http2: Serve) -> None:
    async with serve_http2() as running:
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
