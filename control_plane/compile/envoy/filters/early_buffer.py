"""early_buffer: the same bound as buffer, but before ext_authz, where limits.body.max is small.

While ext_authz waits for the guard, Envoy reads on up to the connection's buffer. When that alone is more than the
body may have, the later buffer filter never learns of it and the request would hang instead of getting its 413.
"""

from __future__ import annotations

from control_plane.compile.envoy.filters.limits import SMALL_BODY, bounded
from control_plane.compile.envoy.values import http_filter
from control_plane.compile.resolve import Resolved
from protos.gen.envoy.extensions.filters.http.buffer.v3.buffer_pb2 import BufferPerRoute
from protos.gen.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpFilter,
)

NAME = "bartizan.early_buffer"


def build(resolved: Resolved) -> HttpFilter | None:
    """Only for small limits: holding large bodies of unknown callers would cost memory."""
    return http_filter(NAME, bounded(SMALL_BODY)) if resolved.body_max < SMALL_BODY else None


def per_route(resolved: Resolved) -> BufferPerRoute:
    return BufferPerRoute(buffer=bounded(resolved.body_max))
