"""An outside judge of our ADS server: grpcio's own xds:/// client resolves a snapshot and makes a real call."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import grpc

from bartizan.policy.names import TYPE_CLUSTER, TYPE_ENDPOINTS, TYPE_LISTENER, TYPE_ROUTES
from bartizan.xds.server import SERVER_OPTIONS, AdsServer, PeerInfo, Session
from bartizan.xds.snapshot import Publication, Resources, Snapshot
from protos.gen.envoy.config.cluster.v3 import cluster_pb2
from protos.gen.envoy.config.endpoint.v3 import endpoint_pb2
from protos.gen.envoy.config.listener.v3 import listener_pb2
from protos.gen.envoy.config.route.v3 import route_pb2
from protos.gen.envoy.extensions.filters.http.router.v3 import router_pb2
from protos.gen.envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2

# Runs in its own process, because grpcio reads its bootstrap from the environment once. Each line on standard input
# makes one call; the answer is printed.
JUDGE = """
import sys, grpc
channel = grpc.insecure_channel("xds:///service.test")
call = channel.unary_unary("/test.Echo/Say")
for line in sys.stdin:
    print(call(line.strip().encode(), timeout=30, wait_for_ready=True).decode(), flush=True)
"""


class Owner:
    def __init__(self) -> None:
        self.publication = Publication()
        self.node = ""
        self.acked: set[str] = set()
        self.refused: list[str] = []

    async def open(self, peer: PeerInfo, node_id: str) -> Session:
        self.node = node_id
        return self

    def on_subscribe(self, type_url: str, names: frozenset[str]) -> frozenset[str]:
        return names

    def on_ack(self, type_url: str, version: str, nonce: str) -> None:
        self.acked.add(type_url)

    def on_nack(self, type_url: str, version: str, reason: str) -> None:
        self.refused.append(reason)

    def closed(self) -> None:
        pass


class Echo(grpc.GenericRpcHandler):
    """Answers any unary call with its own name and the message."""

    def __init__(self, name: str) -> None:
        self._name = name

    def service(self, handler_call_details: Any) -> Any:
        async def say(message: bytes, context: Any) -> bytes:
            return f"{self._name}:{message.decode()}".encode()

        return grpc.unary_unary_rpc_method_handler(say)


async def echo(name: str) -> tuple[grpc.aio.Server, int]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Echo(name),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, port


def snapshot(port: int) -> Snapshot:
    manager = http_connection_manager_pb2.HttpConnectionManager()
    manager.rds.route_config_name = "routes"
    manager.rds.config_source.ads.SetInParent()
    manager.http_filters.add(name="router").typed_config.Pack(router_pb2.Router())
    listener = listener_pb2.Listener(name="service.test")
    listener.api_listener.api_listener.Pack(manager)

    routes = route_pb2.RouteConfiguration(name="routes")
    host = routes.virtual_hosts.add(name="all", domains=["*"])
    route = host.routes.add()
    route.match.prefix = ""
    route.route.cluster = "echo"

    cluster = cluster_pb2.Cluster(name="echo", type=cluster_pb2.Cluster.EDS)
    cluster.eds_cluster_config.eds_config.ads.SetInParent()

    endpoints = endpoint_pb2.ClusterLoadAssignment(cluster_name="echo")
    locality = endpoints.endpoints.add()
    locality.locality.region = "here"
    locality.load_balancing_weight.value = 1
    address = locality.lb_endpoints.add().endpoint.address.socket_address
    address.address, address.port_value = "127.0.0.1", port
    return Snapshot(
        {
            TYPE_LISTENER: Resources.of({"service.test": listener}),
            TYPE_ROUTES: Resources.of({"routes": routes}),
            TYPE_CLUSTER: Resources.of({"echo": cluster}),
            TYPE_ENDPOINTS: Resources.of({"echo": endpoints}),
        }
    )


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def test_grpcios_xds_client_resolves_our_snapshots_and_follows_a_change() -> None:
    owner = Owner()
    server = grpc.aio.server(options=SERVER_OPTIONS)
    AdsServer(owner.open).register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    (one, first), (two, second) = await echo("one"), await echo("two")
    resources = snapshot(first)
    assert resources.consistent() == ()
    owner.publication.publish(resources)
    bootstrap = {
        "xds_servers": [
            {
                "server_uri": f"127.0.0.1:{port}",
                "channel_creds": [{"type": "insecure"}],
                "server_features": ["xds_v3"],
            }
        ],
        "node": {"id": "judge"},
    }
    judge = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        JUDGE,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "GRPC_XDS_BOOTSTRAP_CONFIG": json.dumps(bootstrap)},
    )
    questions, answers = judge.stdin, judge.stdout
    assert questions is not None
    assert answers is not None

    async def say(text: str) -> str:
        questions.write(f"{text}\n".encode())
        return (await asyncio.wait_for(answers.readline(), 60)).decode().strip()

    try:
        assert await say("hello") == "one:hello"
        assert owner.node == "judge"
        # It uses what it got before its word of that is here.
        await until(lambda: owner.acked == {TYPE_LISTENER, TYPE_ROUTES, TYPE_CLUSTER, TYPE_ENDPOINTS})

        owner.acked.clear()
        owner.publication.publish(snapshot(second))
        async with asyncio.timeout(60):
            while await say("again") != "two:again":
                await asyncio.sleep(0.05)
        await until(lambda: bool(owner.acked))
        assert owner.acked == {TYPE_ENDPOINTS}, "only what changed was sent"
        assert owner.refused == []
    finally:
        questions.close()
        await asyncio.wait_for(judge.wait(), 60)
        for each in (server, one, two):
            await each.stop(None)
