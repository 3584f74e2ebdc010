"""buffer: whole bodies, counted after decompression; larger ones get 413.

Where what is read ahead could inflate to more than limits.body.max, it holds that much: the guard says the same 413 to
what lies between, and to a body that its own edits made too large. For limits below SMALL_BODY the whole body is here
before it is inflated (early_buffer.py).
"""

from __future__ import annotations

from bartizan.policy.defaults import BODY_MAX_CEILING
from control_plane.compile.envoy.filters.limits import INFLATED_READ_AHEAD, SMALL_BODY, bounded
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
    inflates = resolved.content_hop and resolved.body_max >= SMALL_BODY
    return BufferPerRoute(buffer=bounded(max(resolved.body_max, INFLATED_READ_AHEAD if inflates else 0)))


def unread(resolved: Resolved) -> BufferPerRoute:
    """For routes without a content hop: nothing is inflated there, and no guard counts what is too much."""
    return BufferPerRoute(buffer=bounded(resolved.body_max))
