"""Both engines: what breaks one call is answered by that call alone, seen frame by frame on one connection."""

from __future__ import annotations

import asyncio
import gc
import struct
from itertools import product

import pytest

from sidecar.wire.grpc_call import Stream
from sidecar.wire.running import Running
from tests.integration.wire import raw_h2 as h2
from tests.integration.wire.conftest import Serve
from tests.integration.wire.raw_h2 import block, frame, message, request

U32 = struct.Struct(">I")


def opened(number: int, path: bytes) -> bytes:
    return frame(h2.HEADERS, h2.END_HEADERS, number, block(path))


def call(path: bytes, *pieces: bytes, ended: bool = True, **changes: bytes | None) -> bytes:
    """Stream 1: headers, then each piece in a DATA frame."""
    head = frame(h2.HEADERS, h2.END_HEADERS, 1, block(path, **changes))
    frames = [frame(h2.DATA, 0, 1, piece) for piece in pieces]
    return head + b"".join(frames) + (frame(h2.DATA, h2.END_STREAM, 1) if ended else b"")


BROKEN: dict[str, bytes] = {
    "an unknown method": call(b"/test.S/None", message(b"x")),
    "an unknown service": call(b"/other.S/Echo", message(b"x")),
    "a handler that raises": call(b"/test.S/Crash", message(b"x")),
    "a handler that raises and is no coroutine": call(b"/test.S/CrashNoCoroutine", message(b"x")),
    "a handler that raises after it waited": call(b"/test.S/CrashLater", message(b"x")),
    "a stream whose handler raises": call(b"/test.S/CrashAtOnce", message(b"x")),
    "a handler that refuses": call(b"/test.S/Refuse", message(bytes([9]))),
    "a handler that refuses with OK": call(b"/test.S/RefuseWithOk", message(b"x")),
    "a message of 4 GB announced": call(b"/test.S/Echo", b"\0\xff\xff\xff\xff", ended=False),
    "a message of 4 GB announced on a stream": call(b"/test.S/Both", b"\0\xff\xff\xff\xff", ended=False),
    "a message above the limit announced": call(b"/test.S/Echo", b"\0" + U32.pack(69 << 20), ended=False),
    "a compressed flag without an encoding": call(b"/test.S/Echo", message(b"x", flag=1)),
    "a compressed flag with an unknown encoding": call(
        b"/test.S/Echo", message(b"x", flag=1), grpc_encoding=b"rot13"
    ),
    "a deadline that is over": call(b"/test.S/Hang", message(b"x"), grpc_timeout=b"1n"),
    "a deadline that passes": call(b"/test.S/Hang", message(b"x"), grpc_timeout=b"50m"),
    "a deadline of a stream": call(b"/test.S/HangStream", message(b"x"), ended=False, grpc_timeout=b"50m"),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_call_never_ends_well_and_its_connection_goes_on(serve: Serve, name: str) -> None:
    async with serve() as running:
        peer = await running.connect()
        await peer.send(BROKEN[name])
        answer = await peer.answer(1)
        assert answer.status != 0
        assert answer.status is not None or answer.reset is not None
        assert b"prompt" not in answer.headers.get(b"grpc-message", b"")
        await peer.send(request(3))
        assert (await peer.answer(3)).status == 0
        assert peer.goaway is None


@pytest.mark.parametrize("path", [b"/test.S/Hang", b"/test.S/HangStream"])
async def test_a_late_reset_ends_the_handler_and_nothing_else(serve: Serve, path: bytes) -> None:
    async with serve() as running:
        peer = await running.connect()
        await peer.send(call(path, message(b"x"), ended=path == b"/test.S/Hang"))
        await asyncio.wait_for(running.handlers.entered.wait(), 60)
        await peer.send(frame(h2.RST_STREAM, 0, 1, U32.pack(8)))
        await asyncio.wait_for(running.handlers.over.wait(), 60)
        await peer.send(request(3))
        assert (await peer.answer(3)).status == 0
        assert peer.goaway is None


async def test_a_reset_of_a_call_that_is_answered_means_nothing(serve: Serve) -> None:
    async with serve() as running:
        peer = await running.connect()
        for number in range(1, 21, 2):
            await peer.send(request(number))
            assert (await peer.answer(number)).status == 0
            await peer.send(frame(h2.RST_STREAM, 0, number, U32.pack(8)))
        assert peer.goaway is None


async def test_an_end_and_a_reset_in_one_read_leave_the_other_calls(serve: Serve) -> None:
    """nghttp2 lets go of the stream before its answer is sent: an error there must stay inside."""
    async with serve() as running:
        peer = await running.connect()
        for number in range(1, 41, 4):
            await peer.send(
                request(number, path=b"/test.S/EchoLater")
                + frame(h2.RST_STREAM, 0, number, U32.pack(8))
                + request(number + 2)
            )
            assert (await peer.answer(number + 2)).status == 0
        assert peer.goaway is None


@pytest.mark.parametrize("hello", [b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", bytes(64)], ids=["HTTP/1", "zeros"])
async def test_what_is_no_http2_is_closed_and_others_are_served(serve: Serve, hello: bytes) -> None:
    async with serve() as running:
        peer = await running.connect(hello=False)
        await peer.send(hello)
        await peer.end()
        other = await running.connect()
        await other.send(request(1))
        assert (await other.answer(1)).status == 0


@pytest.mark.parametrize(
    "broken",
    [
        frame(h2.HEADERS, 5, 1, b"\xff" * 7),
        frame(h2.SETTINGS, 0, 0, b"xxx"),
        frame(h2.PING, 0, 0, b"1234567"),
        frame(h2.WINDOW_UPDATE, 0, 0, U32.pack(0)),
        frame(h2.DATA, 0, 1, b"", length=0xFFFFFF),
    ],
    ids=["header compression", "settings", "ping", "window of 0", "oversize frame"],
)
async def test_a_broken_frame_ends_its_connection_and_no_other(serve: Serve, broken: bytes) -> None:
    async with serve() as running:
        bystander = await running.connect()
        await bystander.send(call(b"/test.S/Both", message(b"a"), ended=False))
        peer = await running.connect()
        await peer.send(broken)
        await peer.end()
        await bystander.send(frame(h2.DATA, h2.END_STREAM, 1, message(b"b")))
        answer = await bystander.answer(1)
        assert (answer.status, answer.data) == (0, message(b"a") + message(b"b"))


async def test_stop_says_goaway_and_lets_a_running_call_end(serve: Serve) -> None:
    async with serve() as running:
        peer = await running.connect()
        await peer.send(call(b"/test.S/Both", message(b"a"), ended=False))
        while not (1 in peer.streams and peer.streams[1].data):
            assert await peer.step()
        stopping = asyncio.get_running_loop().create_task(running.engine.stop(10))
        while peer.goaway is None:
            assert await peer.step()
        assert peer.goaway == h2.NO_ERROR
        await peer.send(frame(h2.DATA, h2.END_STREAM, 1, message(b"b")))
        answer = await peer.answer(1)
        assert (answer.status, answer.data) == (0, message(b"a") + message(b"b"))
        await stopping


async def test_a_call_beyond_the_drain_time_ends_with_another_status_than_ok(serve: Serve) -> None:
    """OK would make Envoy pass the rest of an exchange unscanned."""
    async with serve() as running:
        peer = await running.connect()
        await peer.send(call(b"/test.S/HangStream", message(b"x"), ended=False))
        await asyncio.wait_for(running.handlers.entered.wait(), 60)
        await running.engine.stop(0.1)
        answer = await peer.answer(1)
        assert answer.status != 0


@pytest.mark.parametrize(
    ("method", "how"),
    [
        *product(
            ("EchoLater", "Hang", "CrashLater", "Early", "HangStream", "RefuseAfterOne", "Flood"),
            ("waits", "cancels"),
        ),
        *product(("Both", "HangStream"), ("cancels an open one",)),
    ],
)
async def test_nothing_of_a_call_that_is_over_waits_for_the_garbage_collector(
    serve_http2: Serve, method: str, how: str
) -> None:
    """A cancelled handler's frames hold all that it held: in a circle they stay until a full collection, which is rare."""

    def kept() -> int:
        return sum(isinstance(each, (Stream, Running)) for each in gc.get_objects())

    async with serve_http2() as running:
        peer = await running.connect()
        swarm = running.engine._state.swarm  # type: ignore[attr-defined]
        gc.collect()
        gc.disable()
        try:
            before = kept()
            for number in range(1, 41, 2):
                path = f"/test.S/{method}".encode()
                if how == "cancels an open one":
                    await peer.send(opened(number, path), h2.frame(h2.DATA, 0, number, message(b"a")))
                    while not (number in peer.streams and peer.streams[number].data):
                        assert await peer.step()
                else:
                    await peer.send(h2.request(number, path=path))
                if how != "waits" or "Hang" in method or method == "Flood":
                    await peer.send(h2.frame(h2.RST_STREAM, 0, number, bytes(4)))
                else:
                    await peer.answer(number)
            await peer.send(h2.request(99))
            assert (await peer.answer(99)).status == 0
            async with asyncio.timeout(60):
                while len(swarm):
                    await asyncio.sleep(0.01)
            assert kept() == before
        finally:
            gc.enable()


@pytest.mark.parametrize(("method", "tasks"), [("Both", 0), ("HangStream", 1)])
async def test_only_a_handler_that_waits_for_more_than_its_peer_is_a_task(
    serve_http2: Serve, method: str, tasks: int
) -> None:
    async with serve_http2() as running:
        peer = await running.connect()
        await peer.send(call(f"/test.S/{method}".encode(), message(b"a"), ended=False))
        while not (1 in peer.streams and peer.streams[1].data):
            assert await peer.step()
        assert len(running.engine._state.swarm) == tasks  # type: ignore[attr-defined]
        assert running.engine._state.running == 1  # type: ignore[attr-defined]
        await peer.send(frame(h2.RST_STREAM, 0, 1, U32.pack(8)), request(3))
        assert (await peer.answer(3)).status == 0
        async with asyncio.timeout(60):
            while running.engine._state.running:  # type: ignore[attr-defined]
                await asyncio.sleep(0.01)
