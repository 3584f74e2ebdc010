"""Connections to the ports for sidecars that ask nothing: they end, so that nobody's silence takes all descriptors, or all
calls.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bartizan.xds.server import SERVER_OPTIONS
from control_plane.push.health import Health
from control_plane.sidecar_ports import ATTEST_OPTIONS, attest_server
from tests.support.relay import Relay

GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
"""What an HTTP/2 client begins with: its preface and empty settings."""


@pytest.mark.parametrize(
    ("options", "said"),
    [(SERVER_OPTIONS, b""), (ATTEST_OPTIONS, b""), (ATTEST_OPTIONS, GREETING)],
    ids=["mtls-silent", "attest-silent", "attest-idle"],
)
async def test_a_connection_that_asks_nothing_is_closed(
    options: tuple[tuple[str, int], ...], said: bytes
) -> None:
    server = grpc.aio.server(options=options)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(said)
        async with asyncio.timeout(60):
            await reader.read()
        writer.close()
    finally:
        await server.stop(None)


async def test_silent_calls_from_one_address_keep_nobody_else_out(tmp_path: Path) -> None:
    server = attest_server()
    Health(lambda: True, ()).register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.add_insecure_port(f"unix:{tmp_path}/other")  # somebody at another address
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            calls: list[Any] = [channel.stream_stream("/grpc.health.v1.Health/Check")() for _ in range(300)]
            async with asyncio.timeout(60):
                while not (refused := [call for call in calls if call.done()]):
                    await asyncio.sleep(0.01)
            assert await refused[0].code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            async with grpc.aio.insecure_channel(f"unix:{tmp_path}/other") as other:
                reply = await health_pb2_grpc.HealthStub(other).Check(
                    health_pb2.HealthCheckRequest(), timeout=60
                )
            assert reply.status == health_pb2.HealthCheckResponse.SERVING
            for call in calls:
                call.cancel()
    finally:
        await server.stop(None)


async def test_silent_calls_of_many_addresses_yield_their_places_to_who_has_something_to_say() -> None:
    server = attest_server()
    Health(lambda: True, ()).register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    calls: list[Any] = []
    try:
        async with AsyncExitStack() as opened:
            for host in range(2, 6):
                relay = await opened.enter_async_context(Relay(port, source=f"127.0.0.{host}").running())
                address = f"127.0.0.1:{relay.port}"
                channel = await opened.enter_async_context(grpc.aio.insecure_channel(address))
                calls += [channel.stream_stream("/grpc.health.v1.Health/Check")() for _ in range(64)]
            async with asyncio.timeout(60):
                while not (ended := [call for call in calls if call.done()]):
                    await asyncio.sleep(0.01)
            assert await ended[0].code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as other:
                stub = health_pb2_grpc.HealthStub(other)
                reply = await stub.Check(health_pb2.HealthCheckRequest(), timeout=60)
            assert reply.status == health_pb2.HealthCheckResponse.SERVING
            for call in calls:
                call.cancel()
    finally:
        await server.stop(None)
