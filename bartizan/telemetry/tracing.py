"""Traces: the provider of each process, and how a span continues the trace of a gRPC or HTTP call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.propagate import extract
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_tracer = trace.get_tracer("bartizan")
_W3C = TraceContextTextMapPropagator()


def provider(service: str, endpoint: str) -> TracerProvider | None:
    """A provider that exports to `endpoint` (OTLP gRPC, plain text on loopback or unix), or None without endpoint."""
    if not endpoint:
        return None
    # the SDK, and grpcio that its exporter brings along: a guard worker without tracing needs neither
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    made = TracerProvider(resource=Resource.create({"service.name": service}))
    made.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, insecure=True), schedule_delay_millis=200)
    )
    return made


def remote_context(metadata: Mapping[str, str]) -> trace.SpanContext:
    """The caller's span, from W3C traceparent in call metadata; invalid when there is none."""
    return trace.get_current_span(extract(dict(metadata))).get_span_context()


@contextmanager
def step(name: str, *, root: bool = False) -> Iterator[trace.Span]:
    """A span below the current one; nothing where no trace is under way, unless it may be a `root`.

    An exception marks it as failed; its text stays out of the trace.
    """
    if not root and not trace.get_current_span().get_span_context().is_valid:
        yield trace.INVALID_SPAN
        return
    with _tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as span:
        try:
            yield span
        except BaseException as error:
            span.set_status(trace.StatusCode.ERROR, type(error).__name__)
            raise


def below(traceparent: str) -> Context:
    """The context of a span that another process, or this one earlier, wrote down as W3C traceparent."""
    return _W3C.extract({"traceparent": traceparent}, Context())


def traceparent() -> str:
    """The current span as W3C traceparent; "" where there is none."""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier)
    return carrier.get("traceparent", "")
