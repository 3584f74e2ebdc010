"""A listener is gone when nobody takes a connection there: Envoy's word comes before its threads have closed the port."""

from __future__ import annotations

import asyncio
import resource

import pytest

from bartizan.errors import ResourceRejected
from bartizan.policy.bundle import Bundle, EnvoyResources
from sidecar.agent.probe import Prober
from tests.support.guard import guard_plan


def bundle(address: str, port: int) -> Bundle:
    return Bundle(
        schema_version=1,
        policy="default/a",
        revision=1,
        version=1,
        issued_at="2026-01-01T00:00:00Z",
        requires=(),
        listener_address=address,
        listener_port=port,
        tls=None,
        secrets=(),
        envoy=EnvoyResources(clusters=(), extensions=(), listeners=(), routes=()),
        plan=guard_plan(),
    )


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
async def test_it_is_waited_for_until_the_port_takes_no_connection(address: str) -> None:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), address, 0)
    removed, prober = bundle(address, server.sockets[0].getsockname()[1]), Prober(bytes(32))
    with pytest.raises(ResourceRejected, match="listener_still_open"):
        await prober.closed(removed, 0.0)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(prober.closed(removed, 60.0))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        server.close()
        await server.wait_closed()


async def test_an_agent_that_can_ask_nobody_does_not_call_it_gone() -> None:
    async with await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0) as server:
        asked = bundle("127.0.0.1", server.sockets[0].getsockname()[1])
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            with pytest.raises(ResourceRejected, match="listener_still_open"):
                await Prober(bytes(32)).closed(asked, 0.0)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
