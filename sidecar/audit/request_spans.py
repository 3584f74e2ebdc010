"""Envoy's part of a trace, made of its access log where Envoy has no tracer: a span over the request and one over the
model's answer. Pure; the guard's own spans hang below the first (sidecar/wire/trace.py).

A tracer costs Envoy every request, traced or not (ADR 83). An entry costs only those that are logged: the ones that the
guard drew, and all that were refused or failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from bartizan.policy import names
from protos.gen.envoy.data.accesslog.v3.accesslog_pb2 import (
    AccessLogCommon,
    HTTPAccessLogEntry,
    HTTPRequestProperties,
)
from sidecar.audit.span_bytes import (
    CLIENT,
    FLAGS_KNOWN,
    SAMPLED,
    SERVER,
    attribute,
    attributes,
    below,
    ended,
    named,
    of_trace,
    request,
    span,
)
from sidecar.model.request import ingress_span_id, model_span_id, trace_of

SERVICE: Final = "bartizan-envoy"
SCOPE: Final = "bartizan.envoy"
MODEL_SPAN: Final = "router model egress"
CLIENT_GONE: Final = ("downstream", "http2.remote_reset", "http2.remote_refuse")
"""How details begin of clients that went away: connections, and single streams of them."""
_PASSED: Final = ("via_upstream", *CLIENT_GONE)
_ENDED: Final = ended(SAMPLED | FLAGS_KNOWN)
_ENDED_WRONG: Final = ended(SAMPLED | FLAGS_KNOWN, failed=True)
_REFUSED: Final = 400
_SERVER_ERROR: Final = 500
_BROKE_OFF: Final = ("upstream_reset", "ext_proc_error", "stream_idle_timeout")
"""How details begin of answers that ended too early, not by the client."""
_PROTOCOLS: Final = HTTPAccessLogEntry.HTTPVersion


def request_of(spans: Iterable[bytes], instance_id: str) -> bytes:
    """OTLP's ExportTraceServiceRequest for them; b"" for none."""
    made = b"".join(spans)
    return (
        request([made], SCOPE, {"service.name": SERVICE, "service.instance.id": instance_id}) if made else b""
    )


def spans_of(entry: HTTPAccessLogEntry, tags: Mapping[str, str]) -> list[bytes]:
    """The spans of one entry: none where Envoy's own tracer made them, where no route of the policy took the request, or
    where it was neither drawn nor refused. `tags` are those of the entry that have a value.
    """
    trace_id = trace_id_of(entry)
    if not trace_id or names.TAG_TRACE in tags or names.REVISION not in tags or not _wanted(entry):
        return []
    common, began = entry.common_properties, of_trace(bytes.fromhex(trace_id))
    start = _nanoseconds(common.start_time)
    end = start + _nanoseconds(common.duration)
    own = bytes.fromhex(ingress_span_id(trace_id))
    rest = _told(entry, tags) + (_ENDED_WRONG if _failed(entry) else _ENDED)
    whole = span(began, own, b"", named(names.ingress_span(common.route_name), SERVER), start, end, rest)
    if not common.HasField("time_to_first_upstream_tx_byte"):
        return [whole]
    if common.HasField("time_to_last_upstream_rx_byte"):
        end = start + _nanoseconds(common.time_to_last_upstream_rx_byte)
    start += _nanoseconds(common.time_to_first_upstream_tx_byte)
    rest = attribute("upstream_cluster.name", common.upstream_cluster) + _ENDED
    own, above = bytes.fromhex(model_span_id(trace_id)), below(own)
    return [whole, span(began, own, above, named(MODEL_SPAN, CLIENT), start, end, rest)]


def trace_id_of(entry: HTTPAccessLogEntry) -> str:
    """The trace of a request for which Envoy looked for a route, all of which have names; "" for any other. What it
    refuses before (no host, an escaped slash) it logs with the id that the client sent, which may be anybody's.
    """
    return trace_of(entry.request.request_id) if entry.common_properties.route_name else ""


def _wanted(entry: HTTPAccessLogEntry) -> bool:
    """Whether the guard drew it, or somebody refused it: that is always told, as the guard's own spans are."""
    metadata = entry.common_properties.metadata.filter_metadata
    said = metadata.get(names.AUTHZ_METADATA)
    if said is not None and names.TRACED in said.fields:
        return True
    details = entry.response.response_code_details
    return bool(details) and not details.startswith(_PASSED)


def _failed(entry: HTTPAccessLogEntry) -> bool:
    """Whether the client got no answer, or half of one."""
    status = entry.response.response_code.value
    broke_off = status < _REFUSED and entry.response.response_code_details.startswith(_BROKE_OFF)
    return broke_off or status >= _SERVER_ERROR or not status


def _told(entry: HTTPAccessLogEntry, tags: Mapping[str, str]) -> bytes:
    """The attributes, by the names that Envoy's tracer uses. No path, no header, no address of a client."""
    common, request, response = entry.common_properties, entry.request, entry.response
    few = _of_case(
        common.route_name,
        tags[names.REVISION],
        request.request_method,
        entry.protocol_version,
        response.response_code.value,
        _flags(common),
        response.response_code_details,
    )
    own = (
        ("bartizan.check_us", tags.get(names.TAG_WAIT, "")),
        ("request_size", str(request.request_body_bytes)),
        ("response_size", str(response.response_body_bytes)),
    )
    return few + attributes([each for each in own if each[1]])


@lru_cache(maxsize=1024)
def _of_case(
    route: str, revision: str, method: int, protocol: int, status: int, flags: str, details: str
) -> bytes:
    """Those that many entries share."""
    told = (
        ("bartizan.route", route),
        ("bartizan.revision", revision),
        ("http.method", method_name(method)),
        ("http.protocol", _PROTOCOLS.Name(protocol)),  # type: ignore[arg-type]
        ("http.status_code", str(status)),
        ("response_flags", flags),
        ("response_code_details", details),
    )
    return attributes([each for each in told if each[1]])


def _flags(common: AccessLogCommon) -> str:
    if not common.HasField("response_flags"):
        return ""
    return ",".join([field.name for field, _ in common.response_flags.ListFields()])


@lru_cache(maxsize=64)
def method_name(number: int) -> str:
    """A request's method as HTTP spells it; "" for one that Envoy has no number for."""
    values = HTTPRequestProperties.DESCRIPTOR.fields_by_name["request_method"].enum_type
    value = values.values_by_number.get(number) if values is not None else None
    return value.name if value is not None and number else ""


def _nanoseconds(time: Timestamp | Duration) -> int:
    """The types' own method checks what Envoy's clock can't say, for ten times as long."""
    return time.seconds * 1_000_000_000 + time.nanos
