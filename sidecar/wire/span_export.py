"""Writes the guard's finished spans as OTLP, for span_queue.py: no object of the SDK is made on the way (ADR 66)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from sidecar.checks.pipeline import Mark
from sidecar.wire.trace import DecisionSpans

SERVICE: Final = "bartizan-guard"
SCOPE: Final = "bartizan.guard"
_SAMPLED, _FLAGS_KNOWN, _PARENT_REMOTE = 0x01, 0x100, 0x200  # OTLP's SpanFlags


def encode(batch: Sequence[DecisionSpans]) -> ExportTraceServiceRequest:
    """For each decision one span over all its marks, with a child for each mark."""
    spans: list[Span] = []
    for decision in batch:
        parent, marks = decision.parent, decision.marks
        trace_id = bytes.fromhex(parent.trace_id) if parent.trace_id else os.urandom(16)
        above = bytes.fromhex(parent.span_id)
        ids = os.urandom(8 * (len(marks) + 1))
        spans.append(
            Span(
                trace_id=trace_id,
                span_id=ids[:8],
                parent_span_id=above,
                name=decision.name,
                kind=Span.SPAN_KIND_SERVER,
                start_time_unix_nano=marks[0][1],
                end_time_unix_nano=max(end for _, _, end in marks),
                attributes=_attributes(decision.attributes),
                flags=_SAMPLED | _FLAGS_KNOWN | (_PARENT_REMOTE if above else 0),
            )
        )
        spans += [
            _child(mark, trace_id, ids[:8], ids[8 * at : 8 * at + 8]) for at, mark in enumerate(marks, 1)
        ]
    resource = ResourceSpans(scope_spans=[ScopeSpans(spans=spans)])
    resource.scope_spans[0].scope.name = SCOPE
    resource.resource.attributes.extend(_attributes({"service.name": SERVICE}))
    return ExportTraceServiceRequest(resource_spans=[resource])


def _child(mark: Mark, trace_id: bytes, above: bytes, own: bytes) -> Span:
    phase, start, end = mark
    return Span(
        trace_id=trace_id,
        span_id=own,
        parent_span_id=above,
        name=f"bartizan.{phase}",
        kind=Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=start,
        end_time_unix_nano=end,
        flags=_SAMPLED | _FLAGS_KNOWN,
    )


def _attributes(values: Mapping[str, str]) -> list[KeyValue]:
    return [KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in values.items()]
