"""How long one attempt at a check may take, said in a bundle's listener where a second one can be asked of another worker.

Who asks the same worker twice gains nothing, and the header costs Envoy for every request (ADR 88); how many workers there
are, only the agent knows.
"""

from __future__ import annotations

from typing import Final

from google.protobuf.any_pb2 import Any as AnyMessage

from bartizan.xds.snapshot import Resources, pack
from protos.gen.envoy.config.core.v3.base_pb2 import HeaderValue
from protos.gen.envoy.config.listener.v3.listener_pb2 import Listener
from protos.gen.envoy.extensions.filters.http.ext_authz.v3.ext_authz_pb2 import ExtAuthz
from protos.gen.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)

SECONDS: Final = 1.0
"""A worker that has not answered a call for so long hangs. Much shorter, and a burst that only has to queue would be
asked for again and again, until the worker does nothing else; the supervisor kills a hung worker anyway."""
_HEADER: Final = HeaderValue(key="x-envoy-upstream-rq-per-try-timeout-ms", value=str(round(SECONDS * 1000)))
"""Envoy 1.40 takes a cluster's retry policy for the calls of its filters, but not how long an attempt may take."""


def limited(listeners: Resources, workers: int) -> Resources:
    """A bundle's listeners with that time for their checks, whatever the bundle says; without it for one worker."""
    headers = [_HEADER] if workers > 1 else []
    return Resources.of({name: _limited(item, headers) for name, item in listeners.items.items()})


def _limited(item: AnyMessage, headers: list[HeaderValue]) -> Listener:
    listener, manager, check = Listener.FromString(item.value), HttpConnectionManager(), ExtAuthz()
    for chain in listener.filter_chains:
        for network in chain.filters:
            if not network.typed_config.Unpack(manager):
                continue
            for http in manager.http_filters:
                if http.typed_config.Unpack(check):
                    del check.grpc_service.initial_metadata[:]
                    check.grpc_service.initial_metadata.extend(headers)
                    http.typed_config.CopyFrom(pack(check))
            network.typed_config.CopyFrom(pack(manager))
    return listener
