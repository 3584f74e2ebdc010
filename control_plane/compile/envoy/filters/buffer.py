"""buffer: whole bodies within limits.body.max, counted after decompression; larger ones get 413.

The same bound then holds for what the guard puts in a body's place: redaction may make an almost too large one larger.
"""

from __future__ import annotations

from bartizan.policy.defaults import BODY_MAX_CEILING
from control_plane.compile.envoy.filters.limits import bounded
from control_plane.compile.envoy.values import http_filter
from control_plane.compile.resolve import Resolved
from protos.gen.envoy.extensions.filters.http.buffer.v3.buffer_pb2 import BufferPerRoute
from protos.gen.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpFilter,
)

NAME = "envoy.filters.http.buffer"


def build(resolved: Resolved) -> HttpFilter | None:  # noqa: ARG001 - every filter has this signature
    """Always there. The limit itself is on the routes: changing it must not replace the listener."""
    return http_filter(NAME, bounded(BODY_MAX_CEILING))


def per_route(resolved: Resolved) -> BufferPerRoute:
    return BufferPerRoute(buffer=bounded(resolved.body_max))
