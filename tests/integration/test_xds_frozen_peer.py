"""A control plane that froze without a word is noticed by keepalive: its sockets stay open, so nothing else tells."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Mapping

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage

from bartizan.policy.names import TYPE_BUNDLE
from bartizan.xds.client import KEEPALIVE, AdsClient, ConnectionState

SERVER = """
import asyncio, grpc
from bartizan.policy.names import TYPE_BUNDLE
from bartizan.xds.server import SERVER_OPTIONS, AdsServer
from bartizan.xds.snapshot import Publication, Resources, Snapshot

class Owner:
    publication = Publication(Snapshot({TYPE_BUNDLE: Resources("none", {})}))
    def on_subscribe(self, type_url, names): return names
    def on_ack(self, type_url, version, nonce): pass
    def on_nack(self, type_url, version, reason): pass
    def closed(self): pass

async def main():
    owner = Owner()
    async def open_session(peer, node_id): return owner
    server = grpc.aio.server(options=SERVER_OPTIONS)
    AdsServer(open_session).register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()

asyncio.run(main())
"""


async def _take(_type_url: str, _version: str, _items: Mapping[str, AnyMessage]) -> None:
    """Accepts everything."""


@pytest.mark.slow
async def test_a_frozen_control_plane_is_noticed_within_the_keepalive() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVER, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        port = int(await asyncio.wait_for(process.stdout.readline(), 60))
        states: asyncio.Queue[ConnectionState] = asyncio.Queue(maxsize=100)
        client = AdsClient(
            lambda: grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=KEEPALIVE),
            "node",
            _take,
            on_state=states.put_nowait,
        )
        client.subscribe(TYPE_BUNDLE)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(client.run())
            assert (await asyncio.wait_for(states.get(), 60)).connected
            process.send_signal(signal.SIGSTOP)
            # without our own ping timeout this takes more than a minute
            assert not (await asyncio.wait_for(states.get(), 45)).connected
            process.send_signal(signal.SIGCONT)
            async with asyncio.timeout(60):
                while not (await states.get()).connected:
                    pass
            task.cancel()
    finally:
        process.kill()
        await process.wait()


@pytest.mark.slow
async def test_of_two_addresses_the_one_that_lives_is_found_while_the_other_is_frozen_or_gone() -> None:
    """As a DNS name with several addresses is resolved: every new stream tries them all."""
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", SERVER, stdout=asyncio.subprocess.PIPE)
        for _ in range(2)
    ]
    try:
        ports = []
        for process in processes:
            assert process.stdout is not None
            ports.append(int(await asyncio.wait_for(process.stdout.readline(), 60)))
        target = "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)
        for ending in (signal.SIGSTOP, signal.SIGKILL):
            processes[0].send_signal(ending)
            for _ in range(6):  # whichever comes first
                states: asyncio.Queue[ConnectionState] = asyncio.Queue(maxsize=100)
                client = AdsClient(
                    lambda: grpc.aio.insecure_channel(target, options=KEEPALIVE),
                    "node",
                    _take,
                    on_state=states.put_nowait,
                )
                client.subscribe(TYPE_BUNDLE)
                async with asyncio.TaskGroup() as group:
                    task = group.create_task(client.run())
                    async with asyncio.timeout(60):
                        while not (await states.get()).connected:
                            pass
                    task.cancel()
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
            await process.wait()
