"""Spans are written as protobuf itself would write them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, SpanFlags, Status

from sidecar.audit import span_bytes

WORDS = st.one_of(st.text(max_size=40), st.text(min_size=120, max_size=140), st.just("é" * 9000))
"""Lengths that take one, two and three bytes."""
ATTRIBUTES = st.dictionaries(WORDS.filter(bool), WORDS, max_size=4)
MOMENTS = st.integers(1, 2**63)


def key_values(values: dict[str, str]) -> list[KeyValue]:
    return [KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in values.items()]


@given(
    ids=st.tuples(st.binary(min_size=16, max_size=16), st.binary(min_size=8, max_size=8)),
    above=st.one_of(st.just(b""), st.binary(min_size=8, max_size=8)),
    name=st.text(min_size=1, max_size=300),
    kind=st.sampled_from([span_bytes.INTERNAL, span_bytes.SERVER, span_bytes.CLIENT]),
    times=st.tuples(MOMENTS, MOMENTS),
    attributes=ATTRIBUTES,
    flags=st.sampled_from([0x101, 0x301]),
    failed=st.booleans(),
    resource=ATTRIBUTES,
)
def test_a_request_is_what_protobuf_would_write(
    ids: tuple[bytes, bytes],
    above: bytes,
    name: str,
    kind: int,
    times: tuple[int, int],
    attributes: dict[str, str],
    flags: int,
    failed: bool,
    resource: dict[str, str],
) -> None:
    span = Span(
        trace_id=ids[0],
        span_id=ids[1],
        parent_span_id=above,
        name=name,
        kind=kind,  # type: ignore[arg-type]
        start_time_unix_nano=times[0],
        end_time_unix_nano=times[1],
        attributes=key_values(attributes),
        flags=flags,
    )
    if failed:
        span.status.code = Status.STATUS_CODE_ERROR
    scope = ScopeSpans(scope=InstrumentationScope(name="bartizan.x"), spans=[span, span])
    whole = ResourceSpans(resource=Resource(attributes=key_values(resource)), scope_spans=[scope])
    written = span_bytes.span(
        span_bytes.of_trace(ids[0]),
        ids[1],
        span_bytes.below(above) if above else b"",
        span_bytes.named(name, kind),
        *times,
        span_bytes.attributes(attributes.items()) + span_bytes.ended(flags, failed=failed),
    )
    expected = ExportTraceServiceRequest(resource_spans=[whole]).SerializeToString(deterministic=True)
    assert span_bytes.request([written, written], "bartizan.x", resource) == expected


def test_kinds_and_flags_are_those_of_otlp() -> None:
    kinds = (Span.SPAN_KIND_INTERNAL, Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT)
    assert kinds == (span_bytes.INTERNAL, span_bytes.SERVER, span_bytes.CLIENT)
    assert span_bytes.FLAGS_KNOWN == SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
    assert span_bytes.PARENT_REMOTE == SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
