"""How much Envoy holds of a request: sizes on which listener, buffers and routes must agree."""

from __future__ import annotations

from google.protobuf.wrappers_pb2 import UInt32Value

from protos.gen.envoy.extensions.filters.http.buffer.v3.buffer_pb2 import Buffer

CONNECTION_BUFFER = 32 * 1024
"""What is read ahead on a connection, also while the guard is asked about the headers. Only a filter that holds the
whole body raises it, for that one request.
"""

BODY_IN_CHECK = CONNECTION_BUFFER
"""Bodies up to this size may come with the ext_authz call. Envoy holds them before anybody knows who calls, so it is no
more than what Envoy would read ahead anyway.
"""

SMALL_BODY = 8 * CONNECTION_BUFFER
"""Body limits below this are enforced before ext_authz too: read-ahead stays below half of any larger limit, so that
raising the buffer to the limit makes Envoy read on, and crossing the limit is seen.
"""

MAX_INFLATE_RATIO = 32
"""What Envoy reads at once may grow to this many times its size in memory."""

INFLATED_READ_AHEAD = (2 * MAX_INFLATE_RATIO + 4) * CONNECTION_BUFFER
"""Most that the read-ahead can inflate to: Envoy reads up to twice the buffer before it pauses. A limit between this
and the read-ahead would be crossed in the decompressor, unseen, and the request would hang.
"""


def bounded(size: int) -> Buffer:
    return Buffer(max_request_bytes=UInt32Value(value=size))
