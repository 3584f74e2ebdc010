"""Both wire engines keep the same contract, seen by grpcio's client."""

from __future__ import annotations

import asyncio
import stat
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sidecar.wire.engine import MAX_CONNECTIONS
from tests.integration.wire import raw_h2 as h2
from tests.integration.wire.conftest import MEGABYTE, Serve

Code = grpc.StatusCode


async def failure(call: object) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call  # type: ignore[misc]
    return raised.value


def untyped(call: Any) -> Any:
    """A multi-callable of bytes: the stubs know it only with serializers."""
    return call


async def test_the_socket_is_for_its_owner_alone(serve: Serve) -> None:
    async with serve() as running:
        assert stat.S_IMODE(running.socket.stat().st_mode) == 0o600


@pytest.mark.parametrize("method", ["Echo", "EchoLater"])
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
    [("RefuseWithOk", Code.INTERNAL), ("Crash", Code.INTERNAL), ("CrashLater", Code.INTERNAL)],
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
            await failure(untyped(running.client.unary_unary(path))(b"x", timeout=20))
        ).code() is Code.UNIMPLEMENTED
        call = untyped(running.client.stream_stream(path))(timeout=20)
        assert await call.code() is Code.UNIMPLEMENTED


async def test_a_call_past_its_deadline_is_cancelled_at_the_server(serve: Serve) -> None:
    async with serve() as running:
        error = await failure(running.unary("Hang", b"x", timeout=0.2))
        assert error.code() is Code.DEADLINE_EXCEEDED
        await asyncio.wait_for(running.handlers.over.wait(), 10)
        assert running.handlers.cancelled == ["unary"]


async def test_a_stream_past_its_deadline_is_cancelled_at_the_server(serve: Serve) -> None:
    async with serve() as running:
        call = running.stream("HangStream", timeout=0.2)
        assert await call.code() is Code.DEADLINE_EXCEEDED
        await asyncio.wait_for(running.handlers.over.wait(), 10)


@pytest.mark.parametrize("sent", [b"", h2.message(b"hello")[:-1]], ids=["nothing", "a part"])
async def test_a_message_that_is_not_there_by_its_deadline_ends_the_call(serve: Serve, sent: bytes) -> None:
    async with serve() as running:
        peer = await running.connect()
        await peer.send(h2.frame(h2.HEADERS, h2.END_HEADERS, 1, h2.block(grpc_timeout=b"100m")))
        await peer.send(*([h2.frame(h2.DATA, 0, 1, sent)] if sent else []))
        answer = await peer.answer(1)
        assert answer.status == 4 or answer.reset is not None
        # the rest comes too late, and harms nobody
        await peer.send(h2.frame(h2.DATA, h2.END_STREAM, 1, h2.message(b"hello")[len(sent) :]))
        await peer.send(h2.request(3))
        assert (await peer.answer(3)).status == 0
        assert [call.deadline for call in running.handlers.calls] == [None]


async def test_a_message_that_comes_in_pieces_is_answered_before_its_deadline(serve: Serve) -> None:
    async with serve() as running:
        peer = await running.connect()
        await peer.send(h2.frame(h2.HEADERS, h2.END_HEADERS, 1, h2.block(grpc_timeout=b"60S")))
        sent = h2.message(b"hello")
        for at in range(len(sent)):
            await peer.send(h2.frame(h2.DATA, h2.END_STREAM * (at == len(sent) - 1), 1, sent[at : at + 1]))
            await asyncio.sleep(0)
        answer = await peer.answer(1)
        assert (answer.status, answer.data) == (0, sent)


async def test_connections_beyond_the_limit_are_closed(serve: Serve) -> None:
    async with serve() as running:
        await running.client.close()
        kept = [await running.connect() for _ in range(MAX_CONNECTIONS)]
        for peer in kept:
            await peer.send(h2.request(1))
            assert (await peer.answer(1)).status == 0
        refused = await running.connect()
        await refused.send(h2.request(1))
        assert (await refused.answer(1)).status is None
        await refused.end()
        await kept[0].close()
        await kept[1].send(h2.request(3))
        assert (await kept[1].answer(3)).status == 0


@pytest.mark.parametrize("method", ["Hang", "HangStream"])
async def test_a_cancelled_call_ends_its_handler(serve: Serve, method: str) -> None:
    async with serve() as running:
        if method == "Hang":
            call = untyped(running.client.unary_unary("/test.S/Hang"))(b"x")
        else:
            call = running.stream(method)
            await call.write(b"x")
        await asyncio.wait_for(running.handlers.entered.wait(), 10)
        call.cancel()
        await asyncio.wait_for(running.handlers.over.wait(), 10)
        assert await running.unary("Echo", b"x") == b"x"


@pytest.mark.parametrize("method", ["Hang", "HangStream"])
async def test_a_lost_connection_ends_its_handlers(serve: Serve, method: str) -> None:
    async with serve() as running:
        channel = grpc.aio.insecure_channel(f"unix:{running.socket}")
        if method == "Hang":
            call = untyped(channel.unary_unary("/test.S/Hang"))(b"x")
        else:
            call = untyped(channel.stream_stream(f"/test.S/{method}"))()
            await call.write(b"x")
        await asyncio.wait_for(running.handlers.entered.wait(), 10)
        await channel.close()
        await asyncio.wait_for(running.handlers.over.wait(), 10)


async def test_a_peer_that_reads_no_replies_stops_the_handler(serve: Serve) -> None:
    async with serve() as running:
        call = running.stream("Flood")
        await call.read()
        seen = -1
        while seen != running.handlers.yielded:
            seen = running.handlers.yielded
            await asyncio.sleep(0.3)
        assert seen < 100
        count = 1
        while await call.read() is not grpc.aio.EOF:
            count += 1
        assert count == 200


async def test_a_handler_that_reads_no_messages_stops_the_peer(serve: Serve) -> None:
    async with serve() as running:
        call = running.stream("Slow", timeout=60)
        written = 0

        async def write() -> None:
            nonlocal written
            for _ in range(100):
                await call.write(bytes(MEGABYTE))
                written += 1
            await call.done_writing()

        async with asyncio.TaskGroup() as group:
            group.create_task(write())
            seen = -1
            while seen != written:
                seen = written
                await asyncio.sleep(0.3)
            assert seen < 50
            # a stream that stands still holds no other one up
            assert await running.unary("Echo", bytes(MEGABYTE)) == bytes(MEGABYTE)
            running.handlers.proceed.set()
        assert await call.read() == str(100 * MEGABYTE).encode()


@pytest.mark.parametrize(
    ("service", "answer"), [("", health_pb2.HealthCheckResponse.SERVING), ("other", None)]
)
async def test_health_is_told_for_the_whole_server(serve: Serve, service: str, answer: int | None) -> None:
    async with serve() as running:
        stub = health_pb2_grpc.HealthStub(running.client)
        check = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=20)
        if answer is None:
            assert (await failure(check)).code() is Code.NOT_FOUND
        else:
            assert (await check).status == answer
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=service), timeout=20)
        expected = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN if answer is None else answer
        assert (await watch.read()).status == expected


async def test_a_watch_learns_that_the_server_stops(serve: Serve) -> None:
    async with serve() as running:
        watch = health_pb2_grpc.HealthStub(running.client).Watch(health_pb2.HealthCheckRequest(), timeout=20)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        stopping = asyncio.get_running_loop().create_task(running.engine.stop(0.5))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        await stopping


async def test_stop_lets_running_calls_end(serve: Serve) -> None:
    async with serve() as running:
        call = running.stream("Slow")
        await call.write(b"12345")
        await asyncio.wait_for(running.handlers.entered.wait(), 10)
        stopping = asyncio.get_running_loop().create_task(running.engine.stop(20))
        await asyncio.sleep(0.3)
        running.handlers.proceed.set()
        await call.done_writing()
        assert await call.read() == b"5"
        assert await call.code() is Code.OK
        await asyncio.wait_for(stopping, 10)


async def test_stop_ends_calls_that_do_not_end_in_time(serve: Serve) -> None:
    async with serve() as running:
        call = running.stream("HangStream")
        await call.write(b"x")
        assert await call.read() == b"x"
        await asyncio.wait_for(running.engine.stop(0.2), 10)
        assert await call.code() is not Code.OK
        await asyncio.wait_for(running.handlers.over.wait(), 10)


async def test_a_stopped_server_takes_no_calls(serve: Serve) -> None:
    async with serve() as running:
        assert await running.unary("Echo", b"x") == b"x"
        await running.engine.stop(0)
        assert (await failure(running.unary("Echo", b"x", timeout=2))).code() in {
            Code.UNAVAILABLE,
            Code.DEADLINE_EXCEEDED,
        }
