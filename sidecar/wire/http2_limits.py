"""What one connection may bring, and what Envoy is told of it. http2_session.py and http2_connection.py keep to it."""

from __future__ import annotations

from typing import Final

from sidecar.wire import http2_frames as h2
from sidecar.wire.grpc_admission import MAX_HEADERS

STREAM_WINDOW: Final = 256 * 1024
CONNECTION_WINDOW: Final = 256 * 1024 * 1024
"""Far more than one stream's, so that slow handlers do not hold the others up; untaken bytes are at most this."""
MOST_HEADERS: Final = 4 * MAX_HEADERS
"""Bytes of a header block above which the connection ends; MAX_HEADERS ends the call."""
MOST_FIELDS: Final = 128


def settings(most_streams: int) -> dict[int, int]:
    """What the peer is told."""
    return {
        h2.ENABLE_PUSH: 0,
        h2.MAX_CONCURRENT_STREAMS: most_streams,
        h2.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
        h2.MAX_HEADER_LIST_SIZE: MAX_HEADERS,
    }
