"""ADS client of the agent: one stream to the control plane, kept open for ever, with ACK and NACK per response.

Handlers run one at a time per type and outlive a broken stream: a policy half applied is worse than one applied late.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError

from bartizan import tasks
from bartizan.errors import BartizanError, ResourceRejected
from bartizan.telemetry.logging import get_logger
from bartizan.xds.subscription import EVERYTHING, SESSION_OPEN, Interest
from protos.gen.bartizan.identity.v1 import identity_pb2
from protos.gen.bartizan.policy.v1 import policy_pb2
from protos.gen.envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from protos.gen.envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2

# Importing them registers the types that a control plane may send, so that resource_name can read them.
KNOWN = (identity_pb2.KeySet, policy_pb2.SignedBundle, secret_pb2.Secret)

# Finds a peer that vanished without a word within 15 seconds, and another one where the name has several addresses.
KEEPALIVE: tuple[tuple[str, int | str], ...] = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # what decides in practice: by itself it is a minute, whatever the keepalive timeout says (seen with 1.85)
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", 32 << 20),
    # our own back-off is in charge: without this a channel waits by itself after a failure
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.use_local_subchannel_pool", 1),
    # each new channel begins at another address: one whose replica answers "unavailable" is not asked for ever
    ("grpc.service_config", '{"loadBalancingConfig": [{"pick_first": {"shuffleAddressList": true}}]}'),
)

_INVALID_ARGUMENT = 3

Handler = Callable[[str, str, Mapping[str, AnyMessage]], Awaitable[None]]
logger = get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class BackOff:
    """Full jitter: a random wait between 0 and min(cap, base * 2^attempt) seconds."""

    base: float = 0.2
    cap: float = 10.0

    def wait(self, attempt: int, uniform: Callable[[float, float], float]) -> float:
        return uniform(0.0, min(self.cap, self.base * 2.0 ** min(attempt, 32)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionState:
    """connected is true as soon as the server has opened the session (or has responded); reason says why the last one ended."""

    connected: bool
    reason: str = ""
    attempt: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arrival:
    stream: int
    response: discovery_pb2.DiscoveryResponse


class AdsClient:
    """Subscribes to types at a control plane.

    handler(type_url, version, items by name) applies a response: returning accepts it, ResourceRejected refuses it
    with a reason, any other error refuses it as a fault of ours. It must be idempotent: after a reconnect the same
    resources may come again. Unless a type is full-state (bundles), items hold only what is new or has changed.
    """

    def __init__(
        self,
        channel_factory: Callable[[], grpc.aio.Channel],
        node_id: str,
        handler: Handler,
        *,
        on_state: Callable[[ConnectionState], None] = lambda _state: None,
        backoff: BackOff | None = None,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._channel_factory = channel_factory
        self._node_id = node_id
        self._handler = handler
        self._on_state = on_state
        self._backoff = backoff or BackOff()
        self._uniform = uniform
        self._interests: dict[str, Interest] = {}
        self._newest: dict[str, _Arrival] = {}
        self._arrived: dict[str, asyncio.Event] = {}
        self._dirty: dict[str, None] = {}
        self._send = asyncio.Event()
        self._stream = 0
        self._attempt = 0
        self._connected = False
        self._reconnect = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None

    @property
    def connected(self) -> bool:
        """Whether the server serves the present stream."""
        return self._connected

    def accepted(self, type_url: str) -> str:
        """The newest accepted version of a type, "" if none was."""
        interest = self._interests.get(type_url)
        return interest.version if interest else ""

    def subscribe(self, type_url: str, names: frozenset[str] = EVERYTHING) -> None:
        """Want these names of a type from now on, everything by default. May be called at any time."""
        interest = self._interests.get(type_url)
        if interest is None:
            self._interests[type_url] = Interest(type_url=type_url, names=names)
            self._arrived[type_url] = asyncio.Event()
            if self._group is not None:
                tasks.start(self._group, self._work(type_url), name="ads-handler")
        elif interest.names == names:
            return
        else:
            interest.want(names)
        self._mark(type_url)

    def reconnect(self) -> None:
        """End the present stream and open a new one at once, for example with a new certificate."""
        self._reconnect.set()

    async def run(self) -> None:
        """Until cancelled. A broken stream is opened again after a back-off."""
        async with tasks.Group() as group:
            self._group = group
            try:
                for type_url in self._interests:
                    tasks.start(group, self._work(type_url), name="ads-handler")
                while True:
                    reason = await self._one_stream()
                    self._attempt += 1
                    self._tell(ConnectionState(connected=False, reason=reason, attempt=self._attempt))
                    if not self._reconnect.is_set():
                        await asyncio.sleep(self._backoff.wait(self._attempt, self._uniform))
            finally:
                self._group = None

    async def _one_stream(self) -> str:
        self._stream += 1
        self._reconnect.clear()
        self._dirty.clear()
        for type_url, interest in self._interests.items():
            interest.new_stream()
            self._mark(type_url)
        async with self._channel_factory() as channel:
            call = ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel).StreamAggregatedResources()
            try:
                return await self._exchange(call)
            except* grpc.aio.AioRpcError as group:
                error = group.exceptions[0]
                while isinstance(error, BaseExceptionGroup):
                    error = error.exceptions[0]
                assert isinstance(error, grpc.aio.AioRpcError)
                reason = error.code().name.lower()
                logger.info("ads_stream_ended", reason=reason)
            finally:
                call.cancel()
        return reason

    async def _exchange(self, call: Any) -> str:
        async with tasks.Group() as group:
            writer = tasks.start(group, self._write(call), name="ads-write")
            reader = tasks.start(group, self._read(call), name="ads-read")
            asked = tasks.start(group, self._reconnect.wait(), name="ads-reconnect")
            await asyncio.wait((reader, asked), return_when=asyncio.FIRST_COMPLETED)
            for task in (writer, reader, asked):
                task.cancel()
        return "reconnect" if self._reconnect.is_set() else "closed"

    async def _read(self, call: Any) -> None:
        if any(key == SESSION_OPEN for key, _value in await call.initial_metadata() or ()):
            self._opened()
        async for response in call:
            self._opened()
            if response.type_url in self._interests:
                self._newest[response.type_url] = _Arrival(stream=self._stream, response=response)
                self._arrived[response.type_url].set()

    def _opened(self) -> None:
        if not self._connected:
            self._attempt = 0
            self._tell(ConnectionState(connected=True))

    async def _write(self, call: Any) -> None:
        first = True
        while True:
            await self._send.wait()
            self._send.clear()
            while self._dirty:
                type_url = next(iter(self._dirty))
                del self._dirty[type_url]
                request = self._interests[type_url].request()
                message = discovery_pb2.DiscoveryRequest(
                    type_url=type_url,
                    resource_names=request.names,
                    version_info=request.version,
                    response_nonce=request.nonce,
                )
                if request.error is not None:
                    message.error_detail.code = _INVALID_ARGUMENT
                    message.error_detail.message = request.error
                if first:
                    message.node.id = self._node_id
                    first = False
                try:
                    await call.write(message)
                except asyncio.InvalidStateError:
                    return  # the stream ended meanwhile; the reader knows why

    async def _work(self, type_url: str) -> None:
        arrived, interest = self._arrived[type_url], self._interests[type_url]
        while True:
            await arrived.wait()
            arrived.clear()
            arrival = self._newest.pop(type_url)
            version = arrival.response.version_info
            refusal = await self._apply(arrival.response)
            nonce = arrival.response.nonce if arrival.stream == self._stream else None
            if refusal is None:
                interest.accepted(version, nonce)
            else:
                interest.rejected(refusal, nonce)
            if nonce is not None:
                self._mark(type_url)

    async def _apply(self, response: discovery_pb2.DiscoveryResponse) -> str | None:
        """None when the handler took it, else why not."""
        try:
            items = {resource_name(item): item for item in response.resources}
            await self._handler(response.type_url, response.version_info, items)
        except ResourceRejected as error:
            return f"{error.path}: {error.reason}" if error.path else error.reason
        except BartizanError as error:
            return str(error)
        except Exception as error:
            logger.exception("ads_handler_failed", type=response.type_url, version=response.version_info)
            return f"internal error: {type(error).__name__}"
        return None

    def _mark(self, type_url: str) -> None:
        self._dirty[type_url] = None
        self._send.set()

    def _tell(self, state: ConnectionState) -> None:
        self._connected = state.connected
        self._on_state(state)


def resource_name(item: AnyMessage) -> str:
    """The name inside a packed resource; raises ResourceRejected when it can't be read."""
    descriptor_name = item.type_url.rpartition("/")[2]
    try:
        descriptor = descriptor_pool.Default().FindMessageTypeByName(descriptor_name)
        message: Any = message_factory.GetMessageClass(descriptor).FromString(item.value)
        field = "name" if "name" in descriptor.fields_by_name else "cluster_name"
        name: str = getattr(message, field)
    except (KeyError, AttributeError) as error:
        raise ResourceRejected(f"unknown resource type {descriptor_name}") from error
    except DecodeError as error:
        raise ResourceRejected(f"undecodable {descriptor_name}") from error
    return name
