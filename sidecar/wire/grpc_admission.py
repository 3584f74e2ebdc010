"""Whether a header block opens a call. Pure.

Envoy sends the same block with every call of one kind, unless it has a tracer: what was judged once is compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from sidecar.wire import grpc_status as status
from sidecar.wire.engine import Call
from sidecar.wire.grpc_call import Metadata, Method, Stream
from sidecar.wire.http2_seam import Lane

MAX_HEADERS: Final = 16 * 1024
"""Of one call's metadata, counted as HTTP/2 counts header lists."""
_PER_FIELD = 32
_KIND: Final = b"application/grpc"
_NOT_GRPC: Final[status.Headers] = ((b":status", b"415"),)
_NOT_POST: Final[status.Headers] = ((b":status", b"405"), (b"allow", b"POST"))
_TRACE: Final = b"traceparent"
_MOST_KNOWN: Final = 4
"""Blocks remembered for one connection: of a check, of a stream, of a health check."""
_MOST_REMEMBERED: Final = 1024
"""Bytes of a block that is remembered."""


class _Known(msgspec.Struct, frozen=True):
    """A block that opened a call, and the call: it is the same for each of them."""

    block: status.Headers
    method: Method
    call: Call


class Admission:
    """What one connection's header blocks open."""

    __slots__ = ("_known", "_methods")

    def __init__(self, methods: Mapping[bytes, Method]) -> None:
        self._methods = methods
        self._known: list[_Known] = []

    def admit(self, lane: Lane, headers: status.Headers, now: float) -> Stream | status.Headers:
        """The call that a header block opens, or the whole answer that refuses it."""
        for known in self._known:
            if headers == known.block:
                break
        else:
            judged = self._judge(headers)
            if not isinstance(judged, _Known):
                return judged
            known = judged
        left = known.call.deadline
        return Stream(lane, known.method, known.call, None if left is None else now + left)

    def _judge(self, headers: status.Headers) -> _Known | status.Headers:
        fields = dict(headers)
        if fields.get(b":method") != b"POST":
            return _NOT_POST
        kind = fields.get(b"content-type", b"")
        if kind != _KIND and not kind.startswith((_KIND + b"+", _KIND + b";")):
            return _NOT_GRPC
        method = self._methods.get(fields.get(b":path", b""))
        if method is None:
            return refusal(status.UNIMPLEMENTED, "no such method")
        if fields.get(b"te") != b"trailers":
            return refusal(status.INTERNAL, "te: trailers is missing")
        size = sum(_PER_FIELD + len(name) + len(value) for name, value in headers)
        if size > MAX_HEADERS:
            return refusal(status.RESOURCE_EXHAUSTED, "too much metadata")
        left = None
        if (timeout := fields.get(b"grpc-timeout")) is not None:
            try:
                left = status.seconds(timeout)
            except ValueError as error:
                return refusal(status.INTERNAL, str(error))
        metadata: Mapping[str, str] = Metadata(fields)
        comes_again = size <= _MOST_REMEMBERED and _TRACE not in fields  # a place in a trace does not
        if comes_again:
            metadata = dict(metadata)
        call = Call(method=method.name, metadata=metadata, deadline=left, peer="unix:")
        known = _Known(headers, method, call)
        if comes_again:
            self._known = [known, *self._known[: _MOST_KNOWN - 1]]
        return known


def refusal(code: int, text: str) -> status.Headers:
    """An answer of a status alone."""
    return status.RESPONSE + status.trailers(code, text)
