"""Our ADS client against our ADS and SDS server over a unix socket: ACK, NACK, reconnect, refusal, what is not served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage

from bartizan.errors import DependencyUnavailable, Forbidden, ResourceRejected
from bartizan.policy.names import TYPE_BUNDLE, TYPE_KEY_SET, TYPE_SECRET
from bartizan.xds.client import KEEPALIVE, AdsClient, BackOff, ConnectionState
from bartizan.xds.server import SERVER_OPTIONS, AdsServer, PeerInfo, Session
from bartizan.xds.snapshot import Publication, Resources
from protos.gen.bartizan.identity.v1 import identity_pb2
from protos.gen.bartizan.policy.v1 import policy_pb2
from protos.gen.envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from protos.gen.envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2
from protos.gen.envoy.service.secret.v3 import sds_pb2_grpc


class Owner:
    """Owner of the resources; keeps what it was told and lets tests wait for it."""

    def __init__(self) -> None:
        self.publication = Publication()
        self.told: list[tuple[str, ...]] = []
        self.opened = 0
        self.ended = 0
        self.refuse: Exception | None = None
        self.allowed: Callable[[frozenset[str]], frozenset[str]] = lambda names: names

    async def open(self, peer: PeerInfo, node_id: str) -> Session:
        if self.refuse is not None:
            raise self.refuse
        assert peer.spiffe_id is None
        assert node_id == "node-1"
        self.opened += 1
        return self

    def on_subscribe(self, type_url: str, names: frozenset[str]) -> frozenset[str]:
        return self.allowed(names)

    def on_ack(self, type_url: str, version: str, nonce: str) -> None:
        self.told.append(("ack", type_url, version))

    def on_nack(self, type_url: str, version: str, reason: str) -> None:
        self.told.append(("nack", type_url, version, reason))

    def closed(self) -> None:
        self.ended += 1

    def publish(self, type_url: str, version: str, *names: str) -> None:
        kinds = {
            TYPE_BUNDLE: policy_pb2.SignedBundle,
            TYPE_KEY_SET: identity_pb2.KeySet,
            TYPE_SECRET: secret_pb2.Secret,
        }
        resources = Resources(version, Resources.of({n: kinds[type_url](name=n) for n in names}).items)
        self.publication.publish(self.publication.current.replace(type_url, resources))


class Receiver:
    """Handler of a client: refuses the versions it is told to."""

    def __init__(self) -> None:
        self.got: list[tuple[str, list[str]]] = []
        self.states: list[ConnectionState] = []
        self.raises: dict[str, Exception] = {}

    async def handle(self, type_url: str, version: str, items: Mapping[str, AnyMessage]) -> None:
        self.got.append((version, sorted(items)))
        if version in self.raises:
            raise self.raises[version]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def serving(owner: Owner, path: Path) -> AsyncIterator[str]:
    server = grpc.aio.server(options=SERVER_OPTIONS)
    AdsServer(owner.open).register(server)
    address = f"unix:{path / 'xds.sock'}"
    server.add_insecure_port(address)
    await server.start()
    try:
        yield address
    finally:
        await server.stop(None)


@asynccontextmanager
async def running(address: str, receiver: Receiver) -> AsyncIterator[AdsClient]:
    client = AdsClient(
        lambda: grpc.aio.insecure_channel(address, options=KEEPALIVE),
        "node-1",
        receiver.handle,
        on_state=receiver.states.append,
        backoff=BackOff(base=0.01, cap=0.05),
    )
    async with asyncio.TaskGroup() as group:
        task = group.create_task(client.run())
        yield client
        task.cancel()


async def test_a_response_is_acknowledged_or_refused_with_its_reason(tmp_path: Path) -> None:
    owner, receiver = Owner(), Receiver()
    receiver.raises = {
        "2": ResourceRejected("no such file", "spec.listener.tls.cert"),
        "3": ValueError("text with a secret"),
    }
    async with serving(owner, tmp_path) as address, running(address, receiver) as client:
        client.subscribe(TYPE_BUNDLE)
        for version in ("1", "2", "3", "4"):
            owner.publish(TYPE_BUNDLE, version, f"ns/p{version}")
            await until(lambda: len(owner.told) == int(version))  # noqa: B023
        assert client.accepted(TYPE_BUNDLE) == "4"
    assert owner.told == [
        ("ack", TYPE_BUNDLE, "1"),
        ("nack", TYPE_BUNDLE, "2", "spec.listener.tls.cert: no such file"),
        ("nack", TYPE_BUNDLE, "3", "internal error: ValueError"),
        ("ack", TYPE_BUNDLE, "4"),
    ]
    await until(lambda: owner.ended == 1)


async def test_wanted_names_can_change_while_the_stream_is_open(tmp_path: Path) -> None:
    owner, receiver = Owner(), Receiver()
    owner.publish(TYPE_KEY_SET, "1", "a", "b")
    async with serving(owner, tmp_path) as address, running(address, receiver) as client:
        client.subscribe(TYPE_KEY_SET, frozenset({"a"}))
        await until(lambda: len(owner.told) == 1)
        client.subscribe(TYPE_KEY_SET, frozenset({"a", "b"}))
        await until(lambda: len(owner.told) == 2)
    assert receiver.got == [("1", ["a"]), ("1", ["b"])]


async def test_names_the_owner_does_not_allow_are_not_sent(tmp_path: Path) -> None:
    owner, receiver = Owner(), Receiver()
    owner.allowed = lambda names: names & {"mine"}
    owner.publish(TYPE_SECRET, "1", "mine", "theirs")
    async with serving(owner, tmp_path) as address, running(address, receiver) as client:
        client.subscribe(TYPE_SECRET, frozenset({"mine", "theirs"}))
        await until(lambda: len(owner.told) == 1)
    assert receiver.got == [("1", ["mine"])]


async def test_a_reconnected_client_is_sent_only_what_it_does_not_have(tmp_path: Path) -> None:
    owner, receiver = Owner(), Receiver()
    owner.publish(TYPE_BUNDLE, "1", "ns/p")
    async with serving(owner, tmp_path) as address, running(address, receiver) as client:
        client.subscribe(TYPE_BUNDLE)
        await until(lambda: len(owner.told) == 1)
        client.reconnect()
        await until(lambda: owner.opened == 2 and client.connected)  # though nothing is sent
        owner.publish(TYPE_BUNDLE, "2", "ns/q")
        await until(lambda: len(owner.told) == 2)
    assert receiver.got == [("1", ["ns/p"]), ("2", ["ns/q"])]


async def test_a_server_that_comes_back_finds_its_client_again(tmp_path: Path) -> None:
    owner, receiver = Owner(), Receiver()
    owner.publish(TYPE_BUNDLE, "1", "ns/p")
    async with running(f"unix:{tmp_path / 'xds.sock'}", receiver) as client:
        client.subscribe(TYPE_BUNDLE)
        await until(lambda: any(not state.connected for state in receiver.states))
        async with serving(owner, tmp_path):
            await until(lambda: client.accepted(TYPE_BUNDLE) == "1")
        await until(lambda: not client.connected)
        owner.publish(TYPE_BUNDLE, "2", "ns/p")
        async with serving(owner, tmp_path):
            await until(lambda: client.accepted(TYPE_BUNDLE) == "2")
    assert [version for version, _ in receiver.got] == ["1", "2"]


async def test_a_handler_outlives_a_broken_stream_and_one_slow_type_does_not_hold_up_another(
    tmp_path: Path,
) -> None:
    owner = Owner()
    release, finished, keys = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def handle(type_url: str, version: str, items: Mapping[str, AnyMessage]) -> None:
        if type_url == TYPE_KEY_SET:
            keys.set()
            return
        await release.wait()
        finished.set()

    receiver = Receiver()
    receiver.handle = handle  # type: ignore[method-assign]
    owner.publish(TYPE_BUNDLE, "1", "ns/p")
    owner.publish(TYPE_KEY_SET, "1", "set")
    async with serving(owner, tmp_path) as address, running(address, receiver) as client:
        client.subscribe(TYPE_BUNDLE)
        client.subscribe(TYPE_KEY_SET)
        await asyncio.wait_for(keys.wait(), 60)
        client.reconnect()
        await until(lambda: owner.opened == 2)
        release.set()
        await asyncio.wait_for(finished.wait(), 60)
        await until(lambda: client.accepted(TYPE_BUNDLE) == "1")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Forbidden("unknown instance"), "permission_denied"),
        (DependencyUnavailable("store is away"), "unavailable"),
        (RuntimeError("a detail that no peer may read"), "internal"),
    ],
)
async def test_a_refused_session_is_retried_and_its_reason_shown(
    tmp_path: Path, fault: Exception, reason: str
) -> None:
    owner, receiver = Owner(), Receiver()
    owner.refuse = fault
    owner.publish(TYPE_BUNDLE, "1", "ns/p")
    async with serving(owner, tmp_path) as address, running(address, receiver) as client:
        client.subscribe(TYPE_BUNDLE)
        await until(lambda: len(receiver.states) >= 2)
        assert {state.reason for state in receiver.states} == {reason}
        owner.refuse = None
        await until(lambda: client.connected)


async def test_envoys_own_secret_stream_is_served_and_carries_only_secrets(tmp_path: Path) -> None:
    owner = Owner()
    owner.publish(TYPE_SECRET, "1", "cert")
    request = discovery_pb2.DiscoveryRequest(resource_names=["cert"])
    request.node.id = "node-1"
    async with serving(owner, tmp_path) as address, grpc.aio.insecure_channel(address) as channel:
        call = sds_pb2_grpc.SecretDiscoveryServiceStub(channel).StreamSecrets()
        await call.write(request)
        response: Any = await call.read()
        assert (response.type_url, response.version_info, len(response.resources)) == (TYPE_SECRET, "1", 1)
        await call.write(discovery_pb2.DiscoveryRequest(type_url=TYPE_BUNDLE))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_delta_is_not_implemented(tmp_path: Path) -> None:
    async with serving(Owner(), tmp_path) as address, grpc.aio.insecure_channel(address) as channel:
        call = ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel).DeltaAggregatedResources()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.write(
                discovery_pb2.DeltaDiscoveryRequest()
            )  # the refusal may be here before it is out
            await call.read()
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
