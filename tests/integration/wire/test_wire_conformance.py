"""Both wire engines keep the same contract, seen by grpcio's client: calls, streams, sizes and refusals."""

from __future__ import annotations

import asyncio
import stat

import grpc
import pytest

from tests.integration.wire.conftest import MEGABYTE, Serve, failure, untyped

Code = grpc.StatusCode


async def test_the_socket_is_for_its_owner_alone(serve: Serve) -> None:
    async with serve() as running:
        assert stat.S_IMODE(running.socket.stat().st_mode) == 0o600


@pytest.mark.parametrize("method", ["Echo", "EchoAtOnce", "EchoLater"])
@pytest.mark.parametrize("size", [0, 1, 5, 16_379, 16_384, 65_536, 300_000, 12 * MEGABYTE])
async def test_a_unary_call_brings_any_size_there_and_back(serve: Serve, method: str, size: int) -> None:
    message = bytes(index % 251 for index in range(min(size, 4099))) * (size // 4099 + 1)
    async with serve() as running:
        assert await running.unary(method, message[:size]) == message[:size]


async def test_a_handler_sees_metadata_method_and_deadline(serve: Serve) -> None:
    async with serve() as running:
        await running.unary(
            "Echo", b"", timeout=7, metadata=(("traceparent", "00-a-b-01"), ("x-bin", b"\xff\x00"))
        )
        await running.unary("Echo", b"", timeout=None)
    first, second = running.handlers.calls
    assert first.method == "/test.S/Echo"
    assert first.metadata["traceparent"] == "00-a-b-01"
    assert "x-bin" not in first.metadata
    assert first.deadline is not None
    assert 0 < first.deadline <= 7.1
    assert second.deadline is None


async def test_a_hundred_calls_run_at_once(serve: Serve) -> None:
    async with serve() as running:
        messages = [str(number).encode() * 1000 for number in range(100)]
        replies = await asyncio.gather(*(running.unary("EchoLater", message) for message in messages))
        assert list(replies) == messages


async def test_a_hundred_streams_run_at_once(serve: Serve) -> None:
    async def one(number: int) -> list[bytes]:
        call = running.stream("Both")
        replies = []
        for piece in range(5):
            await call.write(f"{number}.{piece}".encode())
            replies.append(await call.read())
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is Code.OK
        return replies

    async with serve() as running:
        for number, replies in enumerate(await asyncio.gather(*(one(number) for number in range(100)))):
            assert replies == [f"{number}.{piece}".encode() for piece in range(5)]


async def test_a_stream_carries_messages_of_any_size_in_order(serve: Serve) -> None:
    sizes = [0, 1, 70_000, 0, 3 * MEGABYTE, 5, 16_384]
    async with serve() as running:
        call = running.stream("Both")
        for size in sizes:
            await call.write(bytes(size))
            assert len(await call.read()) == size
        await call.done_writing()
        assert await call.code() is Code.OK


async def test_half_close_ends_the_messages_and_not_the_answer(serve: Serve) -> None:
    async with serve() as running:
        call = running.stream("Count")
        for _ in range(1000):
            await call.write(b"x")
        await call.done_writing()
        assert await call.read() == b"1000"
        assert await call.code() is Code.OK


async def test_a_stream_without_messages_is_answered(serve: Serve) -> None:
    async with serve() as running:
        call = running.stream("Count")
        await call.done_writing()
        assert await call.read() == b"0"


async def test_a_handler_that_returns_before_its_peer_ended_ends_the_stream_with_ok(serve: Serve) -> None:
    async with serve() as running:
        call = running.stream("Early")
        await call.write(b"one")
        assert await call.read() == b"one"
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is Code.OK
        assert await running.unary("Echo", b"x") == b"x"


@pytest.mark.parametrize("code", [code.value[0] for code in Code if code is not Code.OK])
async def test_a_refused_call_ends_with_its_code_and_text(serve: Serve, code: int) -> None:
    async with serve() as running:
        error = await failure(running.unary("Refuse", bytes([code])))
        assert error.code().value[0] == code
        assert error.details() == "because: 100% ü\n"


@pytest.mark.parametrize(
    ("method", "code"),
    [
        ("RefuseWithOk", Code.INTERNAL),
        ("Crash", Code.INTERNAL),
        ("CrashNoCoroutine", Code.INTERNAL),
        ("CrashLater", Code.INTERNAL),
    ],
)
async def test_a_call_that_fails_never_ends_well_nor_tells_what_it_saw(
    serve: Serve, method: str, code: Code
) -> None:
    async with serve() as running:
        error = await failure(running.unary(method, b"x"))
        assert error.code() is code
        assert "prompt" not in (error.details() or "")
        assert await running.unary("Echo", b"x") == b"x"


@pytest.mark.parametrize(
    ("method", "replies", "code"),
    [("RefuseAfterOne", 1, Code.FAILED_PRECONDITION), ("CrashAtOnce", 0, Code.INTERNAL)],
)
async def test_a_stream_that_fails_ends_with_its_code(
    serve: Serve, method: str, replies: int, code: Code
) -> None:
    async with serve() as running:
        call = running.stream(method)
        for _ in range(replies):
            await call.write(b"one")
            assert await call.read() == b"one"
        assert await call.code() is code
        assert await running.unary("Echo", b"x") == b"x"


@pytest.mark.parametrize("path", ["/test.S/None", "/none.S/Echo", "/"])
async def test_unknown_methods_are_unimplemented(serve: Serve, path: str) -> None:
    async with serve() as running:
        assert (
            await failure(untyped(running.client.unary_unary(path))(b"x", timeout=60))
        ).code() is Code.UNIMPLEMENTED
        call = untyped(running.client.stream_stream(path))(timeout=60)
        assert await call.code() is Code.UNIMPLEMENTED
