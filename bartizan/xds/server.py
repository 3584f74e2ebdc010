"""gRPC shell of the state-of-the-world servers: ADS and SDS, one logic for agent -> Envoy and control plane -> agent.

Protocol decisions are in bartizan/xds/subscription.py; who may have what is the owner's, through Session.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from typing import Any, NoReturn, Protocol

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage

from bartizan import tasks
from bartizan.errors import BartizanError, Crowded, DependencyError, Forbidden, ProtocolViolation, TrustError
from bartizan.policy.names import (
    TYPE_CLUSTER,
    TYPE_ENDPOINTS,
    TYPE_EXTENSION,
    TYPE_LISTENER,
    TYPE_ROUTES,
    TYPE_SECRET,
)
from bartizan.telemetry.logging import get_logger
from bartizan.xds.snapshot import Publication
from bartizan.xds.subscription import SESSION_OPEN, Acked, Nacked, Request, Response, Stream, Subscribed
from protos.gen.envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2
from protos.gen.envoy.service.secret.v3 import sds_pb2_grpc

# Make before break: whatever is named by something must arrive before it.
_ORDER = (TYPE_CLUSTER, TYPE_ENDPOINTS, TYPE_LISTENER, TYPE_ROUTES, TYPE_EXTENSION)

# A peer may ping every few seconds (see client.KEEPALIVE); requests are small, whoever sends more is no sidecar.
SERVER_OPTIONS: tuple[tuple[str, int], ...] = (
    # A second server on the same port must fail, not take half of the connections.
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    # Who does not even say hello keeps its descriptor for two minutes otherwise.
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.max_receive_message_length", 1 << 20),
    ("grpc.max_send_message_length", 32 << 20),
)

logger = get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerInfo:
    """Who is at the other end. spiffe_id comes from the TLS peer's certificate, None on plain or unix connections."""

    spiffe_id: str | None
    address: str


class Session(Protocol):
    """One stream, seen by the owner of the resources. Its methods must be quick and must not raise."""

    @property
    def publication(self) -> Publication:
        """Where this subscriber's snapshots appear."""

    def on_subscribe(self, type_url: str, names: frozenset[str]) -> frozenset[str]:
        """The subscriber now wants these names of a type ("*" is everything); returns those it may have."""

    def on_ack(self, type_url: str, version: str, nonce: str) -> None:
        """It took this version."""

    def on_nack(self, type_url: str, version: str, reason: str) -> None:
        """It refused this version; reason is the peer's text, at most 2048 characters."""

    def closed(self) -> None:
        """The stream ended; called once."""


OpenSession = Callable[[PeerInfo, str], Awaitable[Session]]
ServicerContext = grpc.aio.ServicerContext[Any, Any]


class _Streams:
    """Runs streams of sessions; both services below share one."""

    def __init__(self, open_session: OpenSession) -> None:
        self._open = open_session

    async def run(
        self,
        requests: AsyncIterator[discovery_pb2.DiscoveryRequest],
        context: ServicerContext,
        only: str = "",
    ) -> None:
        first = await anext(aiter(requests), None)
        if first is None:
            return
        try:
            session = await self._open(peer_info(context), first.node.id)
        except (TrustError, Forbidden) as error:
            await _refuse(context, grpc.StatusCode.PERMISSION_DENIED, str(error))
        except Crowded as error:
            await _refuse(context, grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        except DependencyError as error:
            await _refuse(context, grpc.StatusCode.UNAVAILABLE, str(error))
        except BartizanError as error:
            await _refuse(context, grpc.StatusCode.FAILED_PRECONDITION, str(error))
        except Exception:
            logger.exception("xds_session_failed")
            await _refuse(context, grpc.StatusCode.INTERNAL, "internal error")
        refusal: tuple[grpc.StatusCode, str] | None = None
        try:
            # A subscriber that has everything is sent nothing: this is how it learns that it is served.
            await context.send_initial_metadata(((SESSION_OPEN, "1"),))
            exchange = _Exchange(session, context, only)
            await exchange.run(first, requests)
        except* ProtocolViolation as group:
            refusal = grpc.StatusCode.INVALID_ARGUMENT, str(group.exceptions[0])
        except* Forbidden as group:
            refusal = grpc.StatusCode.PERMISSION_DENIED, str(group.exceptions[0])
        except* DependencyError as group:
            refusal = grpc.StatusCode.UNAVAILABLE, str(group.exceptions[0])
        finally:
            session.closed()
        if refusal is not None:
            await _refuse(context, *refusal)


class _Exchange:
    """One stream: this task reads, a second one writes what became due, a third waits for snapshots."""

    def __init__(self, session: Session, context: ServicerContext, only: str) -> None:
        self._session = session
        self._context = context
        self._only = only
        numbers = count(1)
        self._stream: Stream[AnyMessage] = Stream(lambda: str(next(numbers)))
        self._wake = asyncio.Event()

    async def run(
        self, first: discovery_pb2.DiscoveryRequest, requests: AsyncIterator[discovery_pb2.DiscoveryRequest]
    ) -> None:
        async with tasks.Group() as group:
            helpers = (
                tasks.start(group, self._write(), name="xds-write"),
                tasks.start(group, self._watch(), name="xds-watch"),
            )
            self._take(first)
            async for request in requests:
                self._take(request)
            for helper in helpers:
                helper.cancel()

    def _take(self, message: discovery_pb2.DiscoveryRequest) -> None:
        type_url = message.type_url or self._only
        if not type_url or (self._only and type_url != self._only):
            raise ProtocolViolation("this type is not served on this stream")
        request = Request(
            type_url=type_url,
            names=tuple(message.resource_names),
            version=message.version_info,
            nonce=message.response_nonce,
            error=(message.error_detail.message or "no reason given")
            if message.HasField("error_detail")
            else None,
        )
        for event in self._stream.receive(request):
            match event:
                case Subscribed():
                    allowed = self._session.on_subscribe(event.type_url, event.names)
                    self._stream.allow(event.type_url, allowed)
                case Acked():
                    self._session.on_ack(event.type_url, event.version, event.nonce)
                case Nacked():
                    logger.warning("xds_refused", type=event.type_url, version=event.version)
                    self._session.on_nack(event.type_url, event.version, event.reason)
                case _:
                    pass
        self._wake.set()

    async def _watch(self) -> None:
        snapshot = self._session.publication.current
        while True:
            self._wake.set()
            snapshot = await self._session.publication.changed(snapshot)

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            for type_url in sorted(self._stream.types, key=_rank):
                # Looked up anew for every type: a write may have taken long, and only the newest is worth sending.
                resources = self._session.publication.current.types.get(type_url)
                if resources is None:
                    continue
                response = self._stream.due(type_url, resources.version, resources.items)
                if response is not None:
                    await self._context.write(_encode(response))


def _rank(type_url: str) -> int:
    return _ORDER.index(type_url) if type_url in _ORDER else len(_ORDER)


def _encode(response: Response[AnyMessage]) -> discovery_pb2.DiscoveryResponse:
    return discovery_pb2.DiscoveryResponse(
        type_url=response.type_url,
        version_info=response.version,
        nonce=response.nonce,
        resources=[response.items[name] for name in sorted(response.items)],
    )


def peer_info(context: ServicerContext) -> PeerInfo:
    """The peer's SPIFFE id as gRPC took it from the verified certificate; present only if there is exactly one."""
    ids = list(context.auth_context().get("peer_spiffe_id", ()))
    return PeerInfo(spiffe_id=ids[0].decode() if len(ids) == 1 else None, address=context.peer())


async def _refuse(context: ServicerContext, code: grpc.StatusCode, details: str) -> NoReturn:
    await context.abort(code, details)
    raise AssertionError("abort raises")  # pragma: no cover


class _Ads(ads_pb2_grpc.AggregatedDiscoveryServiceServicer):
    def __init__(self, streams: _Streams) -> None:
        self._streams = streams

    async def StreamAggregatedResources(self, requests: Any, context: Any) -> None:  # type: ignore[override]  # noqa: N802
        await self._streams.run(requests, context)

    async def DeltaAggregatedResources(self, requests: Any, context: Any) -> None:  # type: ignore[override]  # noqa: ARG002, N802
        await _refuse(context, grpc.StatusCode.UNIMPLEMENTED, "only state-of-the-world ADS is served")


class _Sds(sds_pb2_grpc.SecretDiscoveryServiceServicer):
    def __init__(self, streams: _Streams) -> None:
        self._streams = streams

    async def StreamSecrets(self, requests: Any, context: Any) -> None:  # type: ignore[override]  # noqa: N802
        await self._streams.run(requests, context, TYPE_SECRET)

    async def DeltaSecrets(self, requests: Any, context: Any) -> None:  # type: ignore[override]  # noqa: ARG002, N802
        await _refuse(context, grpc.StatusCode.UNIMPLEMENTED, "only state-of-the-world SDS is served")

    async def FetchSecrets(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        await _refuse(context, grpc.StatusCode.UNIMPLEMENTED, "only streams are served")


class AdsServer:
    """Serves sessions over ADS and SDS. `open_session(peer, node_id)` may refuse: TrustError and Forbidden end the
    stream with PERMISSION_DENIED, Crowded with RESOURCE_EXHAUSTED, DependencyError with UNAVAILABLE.
    """

    def __init__(self, open_session: OpenSession) -> None:
        self._streams = _Streams(open_session)

    def register(self, server: grpc.aio.Server, *, sds: bool = True) -> None:
        """Add ADS, and SDS unless told otherwise, to a server that was made with SERVER_OPTIONS."""
        ads_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server(_Ads(self._streams), server)
        if sds:
            sds_pb2_grpc.add_SecretDiscoveryServiceServicer_to_server(_Sds(self._streams), server)
