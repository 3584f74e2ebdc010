"""Both wire engines end calls alike: deadlines, cancellations, peers that hold back, health and stop."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sidecar.wire.engine import MAX_CONNECTIONS
from tests.integration.wire import raw_h2 as h2
from tests.integration.wire.conftest import MEGABYTE, Serve, failure, untyped

Code = grpc.StatusCode


async def test_a_call_past_its_deadline_is_cancelled_at_the_server(serve: Serve) -> None:
    async with serve() as running:
        async with asyncio.timeout(60):
            while not running.handlers.entered.is_set():  # one may be past its deadline before it got there
                error = await failure(running.unary("Hang", b"x", timeout=0.2))
                assert error.code() is Code.DEADLINE_EXCEEDED
            await running.handlers.over.wait()
        assert set(running.handlers.cancelled) == {"unary"}


async def test_a_stream_past_its_deadline_is_cancelled_at_the_server(serve: Serve) -> None:
    async with serve() as running:
        async with asyncio.timeout(60):
            while not running.handlers.entered.is_set():
                call = running.stream("HangStream", timeout=0.2)
                assert await call.code() is Code.DEADLINE_EXCEEDED
            await running.handlers.over.wait()


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
        await asyncio.wait_for(running.handlers.entered.wait(), 60)
        call.cancel()
        await asyncio.wait_for(running.handlers.over.wait(), 60)
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
        await asyncio.wait_for(running.handlers.entered.wait(), 60)
        await channel.close()
        await asyncio.wait_for(running.handlers.over.wait(), 60)


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
        check = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=60)
        if answer is None:
            assert (await failure(check)).code() is Code.NOT_FOUND
        else:
            assert (await check).status == answer
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=service), timeout=60)
        expected = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN if answer is None else answer
        assert (await watch.read()).status == expected


async def test_a_watch_learns_that_the_server_stops(serve: Serve) -> None:
    async with serve() as running:
        watch = health_pb2_grpc.HealthStub(running.client).Watch(health_pb2.HealthCheckRequest(), timeout=60)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        stopping = asyncio.get_running_loop().create_task(running.engine.stop(60))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()
        await stopping


async def test_stop_lets_running_calls_end(serve: Serve) -> None:
    async with serve() as running:
        call = running.stream("Slow")
        await call.write(b"12345")
        await asyncio.wait_for(running.handlers.entered.wait(), 60)
        stopping = asyncio.get_running_loop().create_task(running.engine.stop(120))
        await asyncio.sleep(0.3)
        running.handlers.proceed.set()
        await call.done_writing()
        assert await call.read() == b"5"
        assert await call.code() is Code.OK
        await asyncio.wait_for(stopping, 60)


async def test_stop_ends_calls_that_do_not_end_in_time(serve: Serve) -> None:
    async with serve() as running:
        call = running.stream("HangStream")
        await call.write(b"x")
        assert await call.read() == b"x"
        await asyncio.wait_for(running.engine.stop(0.2), 60)
        assert await call.code() is not Code.OK
        await asyncio.wait_for(running.handlers.over.wait(), 60)


async def test_a_stopped_server_takes_no_calls(serve: Serve) -> None:
    async with serve() as running:
        assert await running.unary("Echo", b"x") == b"x"
        await running.engine.stop(0)
        assert (await failure(running.unary("Echo", b"x", timeout=2))).code() in {
            Code.UNAVAILABLE,
            Code.DEADLINE_EXCEEDED,
        }
