"""What libnghttp2 is asked to allow on one connection, and what Envoy is told of it. http2_connection.py keeps to it."""

from __future__ import annotations

from typing import Final

import ngh2

from sidecar.wire.grpc_admission import MAX_HEADERS

STREAM_WINDOW: Final = 256 * 1024
CONNECTION_WINDOW: Final = 256 * 1024 * 1024
"""Far more than one stream's, so that slow handlers do not hold the others up; untaken bytes are at most this."""
RULES: Final = ngh2.Configuration(
    auto_window_update=False,
    # above this nghttp2 ends the connection; MAX_HEADERS ends the call
    max_inbound_header_list_size=4 * MAX_HEADERS,
    max_inbound_header_count=128,
    # Envoy resets a call whenever its client goes away. With nghttp2's own limit, 1,000 and then 33 a second, a few
    # impatient clients would end the calls of all; one that is reset costs less here than one that is answered.
    stream_reset_rate_limit=(1 << 40, 1 << 40),
)


def settings(max_calls: int) -> dict[ngh2.Setting, int]:
    """What the peer is told."""
    return {
        ngh2.Setting.ENABLE_PUSH: 0,
        ngh2.Setting.MAX_CONCURRENT_STREAMS: max_calls,
        ngh2.Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
        ngh2.Setting.MAX_HEADER_LIST_SIZE: MAX_HEADERS,
    }
