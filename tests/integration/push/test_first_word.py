"""Callers with a certificate that say nothing, or open ever more streams: they end, and others are served meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest

from bartizan.identity import control_plane_id
from bartizan.policy.names import TYPE_BUNDLE
from bartizan.telemetry.lean_prometheus import REGISTRY
from bartizan.tls import CertificateSource, server_credentials
from bartizan.xds.server import SERVER_OPTIONS
from control_plane.first_word import Context, FirstWord, identity
from control_plane.push.service import MOST_STREAMS
from protos.gen.bartizan.fleet.v1 import fleet_pb2, fleet_pb2_grpc
from protos.gen.envoy.config.core.v3 import base_pb2
from protos.gen.envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2
from tests.support.push_stand import CHAT, OTHER, Plane, Sidecar

ADS = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"
REQUEST = discovery_pb2.DiscoveryRequest(node=base_pb2.Node(id="i-chat"), type_url=TYPE_BUNDLE)
REPORT = "/bartizan.fleet.v1.Fleet/Report"


@asynccontextmanager
async def bounded(
    plane: Plane,
    *,
    most: int,
    seconds: float,
    of_all: int = 100,
    who: Callable[[Context], str] = identity,
) -> AsyncIterator[Plane]:
    """The same services behind other bounds."""
    server = grpc.aio.server(
        options=SERVER_OPTIONS, interceptors=[FirstWord(who, most=most, of_all=of_all, seconds=seconds)]
    )
    plane.push.register(server)
    plane.fleet.register(server)
    source = CertificateSource(plane.authority.material(control_plane_id("test")))
    before, plane.port = (
        plane.port,
        server.add_secure_port("127.0.0.1:0", server_credentials(source, require_client=True)),
    )
    await server.start()
    try:
        yield plane
    finally:
        await server.stop(None)
        plane.port = before


def refused(reason: str) -> float:
    return REGISTRY.get_sample_value("bartizan_calls_refused_total", {"reason": reason}) or 0.0


def silent(
    channel: grpc.aio.Channel, method: str, metadata: tuple[tuple[str, str], ...] = ()
) -> grpc.aio.StreamStreamCall[Any, Any]:
    """A call, begun, that says nothing. On the wire a call of one message looks the same."""
    return channel.stream_stream(method)(metadata=metadata)


async def outcome(call: grpc.aio.StreamStreamCall[Any, Any]) -> grpc.StatusCode:
    async with asyncio.timeout(60):
        return await call.code()


@pytest.mark.parametrize("method", [ADS, REPORT], ids=["stream", "one message"])
async def test_a_call_that_says_nothing_ends(plane: Plane, method: str) -> None:
    before = refused("silent")
    async with bounded(plane, most=10, seconds=0.1), plane.channel(CHAT) as channel:
        assert await outcome(silent(channel, method)) is grpc.StatusCode.DEADLINE_EXCEEDED
    assert refused("silent") == before + 1


@pytest.mark.parametrize("method", [ADS, REPORT], ids=["stream", "one message"])
async def test_a_call_that_ends_without_a_message_is_refused(plane: Plane, method: str) -> None:
    async with bounded(plane, most=10, seconds=60), plane.channel(CHAT) as channel:
        call = silent(channel, method)
        await call.done_writing()
        assert await outcome(call) is grpc.StatusCode.INVALID_ARGUMENT


async def test_silent_calls_of_one_identity_do_not_keep_others_out(plane: Plane) -> None:
    async with bounded(plane, most=2, seconds=600), plane.channel(CHAT) as channel:
        calls = [silent(channel, ADS) for _ in range(3)]
        async with asyncio.timeout(60):
            while not (done := [call for call in calls if call.done()]):
                await asyncio.sleep(0.01)
        assert [await call.code() for call in done] == [grpc.StatusCode.RESOURCE_EXHAUSTED]
        await Sidecar(plane, "i-other", OTHER).report()
        for call in calls:
            call.cancel()
        async with asyncio.timeout(60):  # they are forgotten when they end
            while True:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    await Sidecar(plane, "i-chat", CHAT).report()
                    break


async def test_where_all_places_are_taken_a_silent_call_of_who_has_most_yields(plane: Plane) -> None:
    def who(context: Context) -> str:
        return str(dict(context.invocation_metadata() or ()).get("who", "somebody"))

    async def ended(calls: list[grpc.aio.StreamStreamCall[Any, Any]]) -> list[grpc.StatusCode]:
        async with asyncio.timeout(60):
            while not (done := [call for call in calls if call.done()]):
                await asyncio.sleep(0.01)
        return [await call.code() for call in done]

    async with bounded(plane, most=3, of_all=3, seconds=600, who=who), plane.channel(CHAT) as channel:
        few, *many = [silent(channel, ADS, (("who", name),)) for name in ("few", "many", "many", "many")]
        assert await ended(many) == [grpc.StatusCode.RESOURCE_EXHAUSTED]
        await Sidecar(plane, "i-chat", CHAT).report()
        async with asyncio.timeout(60):
            while sum(call.done() for call in many) < 2:
                await asyncio.sleep(0.01)
        assert not few.done()
        for call in (few, *many):
            call.cancel()


async def test_a_sidecar_has_a_bounded_number_of_streams_and_gets_one_again_when_one_ends(
    plane: Plane,
) -> None:
    async def opened(channel: grpc.aio.Channel) -> Any:
        stream = ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel).StreamAggregatedResources()
        await stream.write(REQUEST)
        await stream.initial_metadata()
        return stream

    before = refused("streams")
    async with plane.channel(CHAT) as channel:
        streams = [await opened(channel) for _ in range(MOST_STREAMS)]
        assert await outcome(await opened(channel)) is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refused("streams") == before + 1
        streams[0].cancel()
        async with asyncio.timeout(60):
            while not dict(await (await opened(channel)).initial_metadata()):
                pass


async def test_a_report_is_served_as_before(plane: Plane) -> None:
    async with bounded(plane, most=1, seconds=60), plane.channel(CHAT) as channel:
        report = fleet_pb2.InstanceReport(instance_id="i-chat", boot_id="boot", sequence=1)
        reply = await fleet_pb2_grpc.FleetStub(channel).Report(report, timeout=60)
    assert reply.lease_seconds > 0
