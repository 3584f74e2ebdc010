"""Envoy's ext_authz question in two parts: the request, which is always another, and all else (peers, what the route says),
which repeats with each request of a connection and is decoded once, then known by its bytes.

No credential, header or body is remembered: they are in the request. A message that is not built as Envoy builds it is
decoded whole.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from bartizan.policy import names
from protos.gen.envoy.service.auth.v3 import external_auth_pb2 as auth
from protos.gen.envoy.service.auth.v3.attribute_context_pb2 import AttributeContext
from sidecar.model.value import Value
from sidecar.wire.trace import drawn_below

# Tags of fields that hold bytes: CheckRequest.attributes; AttributeContext.source, destination, request.
_ATTRIBUTES, _PEERS, _REQUEST = 0x0A, (0x0A, 0x12), 0x22
_BEGIN: Final = 3  # behind a tag and a length of two bytes
_LONGEST_KNOWN: Final = 512
_MORE = 0x80
"""A byte of a length from here on says that another one follows."""
_LONGEST_PARTED: Final = 0x3FFF
"""What two bytes can tell: a length of three, read as two, is more than that, and so ends beyond the message. One byte
would be enough for a request without headers only.
"""
_decode_request = AttributeContext.Request.FromString


class Surroundings(Value, frozen=True, kw_only=True):
    """What a question says beside the request itself."""

    source_address: str
    revision: str
    content: bool
    body: bool
    traced_below: str
    """What trace.drawn_below says of the route's share; "" where Envoy has a tracer of its own, or nothing is traced."""


def read_question(message: bytes) -> tuple[AttributeContext.HttpRequest, Surroundings]:
    """Raises google.protobuf.message.DecodeError for bytes that are no CheckRequest."""
    parts = _parts(message)
    if parts is not None:
        request, rest = parts
        known = _surroundings(rest) if len(rest) <= _LONGEST_KNOWN else None
        if known is not None:
            return _decode_request(request).http, known
    attributes = auth.CheckRequest.FromString(message).attributes
    return attributes.request.http, _said(attributes)


@lru_cache(maxsize=4096)
def _surroundings(rest: bytes) -> Surroundings | None:
    """Of the attributes without a request; None where there is one still, with which the other would have to be merged."""
    attributes = AttributeContext.FromString(rest)
    return None if attributes.HasField("request") else _said(attributes)


def _said(attributes: AttributeContext) -> Surroundings:
    extension = attributes.context_extensions.get
    return Surroundings(
        source_address=attributes.source.address.socket_address.address,
        revision=extension(names.REVISION, ""),
        content=extension(names.CONTENT) == "1",
        body=extension(names.BODY) == "1",
        traced_below=drawn_below(int(extension(names.TRACE, "0"))),
    )


def _parts(message: bytes) -> tuple[bytes, bytes] | None:
    """The request's bytes, and those of all other attributes: protobuf's messages may be cut between fields and joined.
    None when anything but peers stands before the request, or a length is not told in as many bytes as Envoy needs.
    """
    end = len(message)
    if end > _LONGEST_PARTED:
        return None
    try:
        size = message[1]
        at = _BEGIN
        if message[0] != _ATTRIBUTES or size < _MORE or at + size - _MORE + (message[2] << 7) != end:
            return None
        while message[at] in _PEERS:
            size = message[at + 1]
            if size >= _MORE:
                return None
            at += 2 + size
        size = message[at + 1]
        if message[at] != _REQUEST or size < _MORE:
            return None
        first = at + _BEGIN
        last = first + size - _MORE + (message[at + 2] << 7)
    except IndexError:
        return None
    return None if last > end else (message[first:last], message[_BEGIN:at] + message[last:])
