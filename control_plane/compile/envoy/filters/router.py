"""router: always the last filter."""

from __future__ import annotations

from control_plane.compile.envoy.values import FALSE, http_filter
from control_plane.compile.resolve import Resolved
from protos.gen.envoy.extensions.filters.http.router.v3.router_pb2 import Router
from protos.gen.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpFilter,
)

NAME = "envoy.filters.http.router"


def build(resolved: Resolved) -> HttpFilter | None:  # noqa: ARG001 - every filter has this signature
    """Neither the model nor the client gets Envoy's own x-envoy-* headers. Counts by status stand with the listener already;
    those of the model's cluster, looked up by name for each answer, nobody reads.
    """
    return http_filter(NAME, Router(suppress_envoy_headers=True, dynamic_stats=FALSE))
