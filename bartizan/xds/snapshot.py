"""What a subscriber shall have (Snapshot) and where it is announced (Publication).

The control plane keeps one publication per sidecar, the agent one for its Envoy; bartizan/xds/server.py serves both.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from bartizan.errors import BartizanError, Forbidden
from bartizan.policy.names import TYPE_CLUSTER, TYPE_LISTENER, TYPE_ROUTES
from protos.gen.envoy.config.listener.v3 import listener_pb2
from protos.gen.envoy.config.route.v3 import route_components_pb2, route_pb2
from protos.gen.envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2

M = TypeVar("M", bound=Message)

_NO_TYPES: Mapping[str, Resources] = MappingProxyType({})


def pack(message: Message) -> AnyMessage:
    """Deterministic: equal messages give equal bytes, so that nothing is sent twice."""
    packed = AnyMessage()
    packed.Pack(message, deterministic=True)
    return packed


@dataclass(frozen=True, slots=True)
class Resources:
    """All resources of one type by name. A version string must never be used again for other content, also not
    after a restart: a subscriber that reconnects names it to say what it has. `Resources.of` takes a content hash.
    """

    version: str
    items: Mapping[str, AnyMessage]

    @classmethod
    def of(cls, messages: Mapping[str, Message]) -> Resources:
        """Pack messages; those that are packed already stay as they are."""
        items = {
            name: message if isinstance(message, AnyMessage) else pack(message)
            for name, message in sorted(messages.items())
        }
        digest = hashlib.sha256()
        for name, item in items.items():
            for part in (name.encode(), item.type_url.encode(), item.value):
                digest.update(len(part).to_bytes(8, "big"))
                digest.update(part)
        return cls(version=digest.hexdigest()[:32], items=MappingProxyType(items))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Immutable. A type that is absent is not known yet (subscribers wait); one without items is known to be empty."""

    types: Mapping[str, Resources] = field(default_factory=lambda: _NO_TYPES)

    def replace(self, type_url: str, resources: Resources) -> Snapshot:
        """The same with one type changed."""
        return Snapshot(MappingProxyType({**self.types, type_url: resources}))

    def consistent(self, static_clusters: Iterable[str] = ()) -> tuple[str, ...]:
        """What Envoy would wait for in vain: routes that listeners name and clusters that routes name. Empty is good."""
        problems: list[str] = []
        routes = self._unpack(TYPE_ROUTES, route_pb2.RouteConfiguration)
        clusters = {*self._names(TYPE_CLUSTER), *static_clusters}
        configurations = list(routes.values())
        for listener in self._unpack(TYPE_LISTENER, listener_pb2.Listener).values():
            for manager in _connection_managers(listener):
                if manager.HasField("rds") and manager.rds.route_config_name not in routes:
                    problems.append(
                        f"listener {listener.name} names missing routes {manager.rds.route_config_name}"
                    )
                if manager.HasField("route_config"):
                    configurations.append(manager.route_config)
        for configuration in configurations:
            problems += [
                f"routes {configuration.name} name missing cluster {cluster}"
                for cluster in sorted(_clusters(configuration) - clusters)
            ]
        return tuple(problems)

    def _names(self, type_url: str) -> frozenset[str]:
        resources = self.types.get(type_url)
        return frozenset(resources.items) if resources else frozenset()

    def _unpack(self, type_url: str, kind: type[M]) -> dict[str, M]:
        resources = self.types.get(type_url)
        if resources is None:
            return {}
        return {name: kind.FromString(item.value) for name, item in resources.items.items()}


def _connection_managers(
    listener: listener_pb2.Listener,
) -> Iterator[http_connection_manager_pb2.HttpConnectionManager]:
    configs = [filter_.typed_config for chain in listener.filter_chains for filter_ in chain.filters]
    configs += [filter_.typed_config for filter_ in listener.default_filter_chain.filters]
    for config in (*configs, listener.api_listener.api_listener):
        manager = http_connection_manager_pb2.HttpConnectionManager()
        if config.Is(manager.DESCRIPTOR):
            config.Unpack(manager)
            yield manager


def _clusters(configuration: route_pb2.RouteConfiguration) -> frozenset[str]:
    names: set[str] = set()
    for host in configuration.virtual_hosts:
        names.update(policy.cluster for policy in host.request_mirror_policies)
        for route in host.routes:
            if route.HasField("route"):
                names.update(_targets(route.route))
    return frozenset(names - {""})


def _targets(action: route_components_pb2.RouteAction) -> Iterator[str]:
    yield action.cluster
    yield from (weighted.name for weighted in action.weighted_clusters.clusters)
    yield from (policy.cluster for policy in action.request_mirror_policies)


class Publication:
    """The newest snapshot, and a way to wait for a newer one. Slow waiters skip what was superseded meanwhile.

    For one event loop; memory holds one snapshot, however many wait.
    """

    def __init__(self, snapshot: Snapshot | None = None) -> None:
        self._current = snapshot or Snapshot()
        self._superseded = asyncio.Event()
        self._closed: BartizanError | None = None

    @property
    def current(self) -> Snapshot:
        """What subscribers shall have now."""
        return self._current

    def publish(self, snapshot: Snapshot) -> None:
        """Replace the snapshot and wake all who wait."""
        if snapshot is self._current:
            return
        self._current = snapshot
        self._wake()

    def close(self, why: BartizanError | None = None) -> None:
        """Nobody gets anything from here any longer: ends the streams of all who are served from it.

        why: Forbidden unless told otherwise; a DependencyError lets them come again, here or elsewhere.
        """
        self._current, self._closed = Snapshot(), why or Forbidden("no longer served")
        self._wake()

    async def changed(self, after: Snapshot) -> Snapshot:
        """The newest snapshot as soon as it is another one than `after`, at once if it already is.

        Raises the reason once the publication is closed.
        """
        while self._current is after and self._closed is None:
            await self._superseded.wait()
        if self._closed is not None:
            raise self._closed
        return self._current

    def _wake(self) -> None:
        superseded, self._superseded = self._superseded, asyncio.Event()
        superseded.set()
