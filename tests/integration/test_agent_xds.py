"""The agent's xds.sock: Envoy's ADS and SDS streams over the sidecar's own HTTP/2, spoken to by grpcio."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from bartizan.errors import Forbidden
from bartizan.policy.bundle import EnvoyResources
from bartizan.policy.names import TYPE_CLUSTER, TYPE_SECRET
from bartizan.xds.session import PeerInfo, Session
from protos.gen.envoy.service.discovery.v3 import discovery_pb2
from sidecar.agent.changes import Changes
from sidecar.agent.envoy_config import EnvoyConfig
from sidecar.agent.sockets import serve
from sidecar.agent.xds_streams import ADS, SDS, XdsStreams

CLUSTERS: tuple[dict[str, Any], ...] = (
    {
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": "model",
        "connect_timeout": "1s",
    },
)


@pytest.fixture
async def config(tmp_path: Path) -> AsyncIterator[EnvoyConfig]:
    config = EnvoyConfig(Changes())
    engine = await config.serve(tmp_path / "xds.sock")
    yield config
    await engine.stop(0.1)


def call(channel: grpc.aio.Channel, method: str) -> Any:
    return channel.stream_stream(method)()


async def read(stream: Any) -> discovery_pb2.DiscoveryResponse:
    async with asyncio.timeout(20):
        return discovery_pb2.DiscoveryResponse.FromString(await stream.read())


def asks(**fields: Any) -> bytes:
    return discovery_pb2.DiscoveryRequest(**fields).SerializeToString()


async def test_envoy_is_served_what_changes_and_its_answers_are_known(
    config: EnvoyConfig, tmp_path: Path
) -> None:
    async with grpc.aio.insecure_channel(f"unix:{tmp_path}/xds.sock") as channel:
        stream = call(channel, ADS)
        await stream.write(asks(type_url=TYPE_CLUSTER))
        empty = await read(stream)
        assert not empty.resources
        taken = {"version_info": empty.version_info, "response_nonce": empty.nonce}
        await stream.write(asks(type_url=TYPE_CLUSTER, **taken))

        snapshot = config.publish(
            EnvoyConfig.read(EnvoyResources(clusters=CLUSTERS, listeners=(), routes=()))
        )
        given = await read(stream)
        assert len(given.resources) == 1
        assert given.version_info == snapshot.types[TYPE_CLUSTER].version
        refusal = discovery_pb2.DiscoveryRequest(type_url=TYPE_CLUSTER, response_nonce=given.nonce)
        refusal.error_detail.message = "no such cluster"
        await stream.write(refusal.SerializeToString())
        with pytest.raises(Exception, match="no such cluster"):
            await config.applied(snapshot, 20)


class Closed:
    """Refuses every session."""

    async def open(self, _peer: PeerInfo, _node: str) -> Session:
        raise Forbidden("not you")


async def status(channel: grpc.aio.Channel, method: str, message: bytes) -> tuple[grpc.StatusCode, str]:
    stream = call(channel, method)
    with contextlib.suppress(grpc.aio.AioRpcError):  # it may be over by now
        await stream.write(message)
    async with asyncio.timeout(20):
        return await stream.code(), await stream.details()


@pytest.mark.parametrize(
    ("method", "message", "code"),
    [
        pytest.param(SDS, asks(type_url=TYPE_CLUSTER), grpc.StatusCode.INVALID_ARGUMENT, id="other type"),
        pytest.param(ADS, asks(), grpc.StatusCode.INVALID_ARGUMENT, id="no type"),
        pytest.param(
            ADS.replace("StreamA", "DeltaA"),
            asks(type_url=TYPE_SECRET),
            grpc.StatusCode.UNIMPLEMENTED,
            id="delta",
        ),
        pytest.param(ADS, b"\xff\xff", grpc.StatusCode.INTERNAL, id="no message"),
    ],
)
@pytest.mark.usefixtures("config")
async def test_a_stream_that_breaks_the_protocol_ends_with_its_reason(
    tmp_path: Path, method: str, message: bytes, code: grpc.StatusCode
) -> None:
    async with grpc.aio.insecure_channel(f"unix:{tmp_path}/xds.sock") as channel:
        assert (await status(channel, method, message))[0] is code


async def test_a_session_may_be_refused(tmp_path: Path) -> None:
    engine = await serve(XdsStreams(Closed().open).services, tmp_path / "closed.sock")
    async with grpc.aio.insecure_channel(f"unix:{tmp_path}/closed.sock") as channel:
        ended = await status(channel, ADS, asks(type_url=TYPE_CLUSTER))
    assert ended == (grpc.StatusCode.PERMISSION_DENIED, "not you")
    await engine.stop(0.1)
