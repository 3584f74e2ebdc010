"""OTLP's spans, written as the bytes they are: of a span nearly all is the same as in the last one of its name, and messages
of protobuf cost several times as much. Pure; used for the guard's spans (wire/span_export.py) and Envoy's (request_spans.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from struct import Struct
from typing import Final

INTERNAL: Final = 1
SERVER: Final = 2
CLIENT: Final = 3
"""Kinds of spans."""
SAMPLED: Final = 0x001
FLAGS_KNOWN: Final = 0x100
PARENT_REMOTE: Final = 0x200
"""SpanFlags."""

# Numbers of fields that hold bytes: Span; KeyValue and AnyValue; ScopeSpans; ResourceSpans and Resource.
_NAME, _ATTRIBUTES = 5, 9
_KEY, _VALUE, _STRING = 1, 2, 1
_SCOPE, _SCOPE_NAME = 1, 1
_RESOURCE, _RESOURCE_ATTRIBUTES, _SCOPE_SPANS, _RESOURCE_SPANS = 1, 1, 2, 1
# Whole tags, with lengths where these never differ.
_TRACE_ID, _SPAN_ID, _PARENT_ID = b"\x0a\x10", b"\x12\x08", b"\x22\x08"
_KIND, _START, _END, _FLAGS = 0x30, 0x39, 0x41, b"\x85\x01"
_SPAN = b"\x12"
_FAILED: Final = b"\x7a\x02\x18\x02"
"""Status.code is STATUS_CODE_ERROR."""
_times = Struct("<BQBQ").pack
_MORE: Final = 0x80
"""A byte of a length from here on says that another one follows."""


def of_trace(trace_id: bytes) -> bytes:
    """How a span of this trace begins; the id has 16 bytes."""
    return _TRACE_ID + trace_id + _SPAN_ID


def below(span_id: bytes) -> bytes:
    """What follows the own id of a span below another; ids of spans have 8 bytes."""
    return _PARENT_ID + span_id


def span(
    began: bytes, span_id: bytes, above: bytes, named: bytes, start: int, end: int, rest: bytes
) -> bytes:
    """One span of a ScopeSpans: `began` is `of_trace`, `above` is `below` or b"", `named` is what the function says, `rest` the
    attributes and `ended`. Times in nanoseconds since the epoch.
    """
    body = b"".join((began, span_id, above, named, _times(_START, start, _END, end), rest))
    return _opened(len(body)) + body


@lru_cache(maxsize=1024)
def named(name: str, kind: int) -> bytes:
    """What the spans of a name have in common."""
    return _field(_NAME, name.encode()) + bytes((_KIND, kind))


@lru_cache(maxsize=64)
def ended(flags: int, *, failed: bool = False) -> bytes:
    """How a span ends."""
    return (_FAILED if failed else b"") + _FLAGS + flags.to_bytes(4, "little")


def attribute(key: str, value: str) -> bytes:
    """One attribute of a span."""
    said = value.encode()
    return _before(key, len(said), _ATTRIBUTES) + said


def attributes(values: Iterable[tuple[str, str]]) -> bytes:
    """Several of them."""
    return b"".join([attribute(key, value) for key, value in values])


@lru_cache(maxsize=1024)
def _before(key: str, length: int, number: int) -> bytes:
    """What stands before a value of this length."""
    value = bytes(length)
    whole = _field(number, _field(_KEY, key.encode()) + _field(_VALUE, _field(_STRING, value)))
    return whole[: len(whole) - length]


def request(spans: Iterable[bytes], scope: str, resource: Mapping[str, str]) -> bytes:
    """An ExportTraceServiceRequest with these."""
    said = b"".join(
        _before(key, len(value.encode()), _RESOURCE_ATTRIBUTES) + value.encode()
        for key, value in resource.items()
    )
    within = _field(_SCOPE, _field(_SCOPE_NAME, scope.encode())) + b"".join(spans)
    return _field(_RESOURCE_SPANS, _field(_RESOURCE, said) + _field(_SCOPE_SPANS, within))


@lru_cache(maxsize=1024)
def _opened(length: int) -> bytes:
    """What stands before a span of this length."""
    return _SPAN + _length(length)


def _field(number: int, data: bytes) -> bytes:
    """A field that holds bytes; of numbers below 16, as all are here."""
    return bytes((number << 3 | 2,)) + _length(len(data)) + data


def _length(length: int) -> bytes:
    """As protobuf writes numbers."""
    if length < _MORE:
        return bytes((length,))
    if length < _MORE * _MORE:
        return bytes((length & 0x7F | _MORE, length >> 7))
    return bytes((length & 0x7F | _MORE,)) + _length(length >> 7)
