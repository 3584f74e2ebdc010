"""Traces: the provider of each process, and how a span continues the trace of a gRPC or HTTP call."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.propagate import extract
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


def provider(service: str, endpoint: str) -> TracerProvider | None:
    """A provider that exports to `endpoint` (OTLP gRPC, plain text on loopback or unix), or None without endpoint."""
    if not endpoint:
        return None
    made = TracerProvider(resource=Resource.create({"service.name": service}))
    made.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, insecure=True), schedule_delay_millis=200)
    )
    return made


def remote_context(metadata: Mapping[str, str]) -> trace.SpanContext:
    """The caller's span, from W3C traceparent in call metadata; invalid when there is none."""
    return trace.get_current_span(extract(dict(metadata))).get_span_context()
