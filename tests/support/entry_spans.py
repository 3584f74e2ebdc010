"""The spans that the agent makes of an entry of Envoy's access log, as protobuf reads them."""

from __future__ import annotations

from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span

from protos.gen.envoy.data.accesslog.v3.accesslog_pb2 import HTTPAccessLogEntry
from sidecar.audit.access_log import tags_of
from sidecar.audit.request_spans import spans_of


def entry_spans(entry: HTTPAccessLogEntry) -> list[Span]:
    """In their order."""
    return list(ScopeSpans.FromString(b"".join(spans_of(entry, tags_of(entry)))).spans)
