"""Envoy's spans where it has no tracer: of which entries of its access log they are made, and that they fit the guard's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from bartizan.policy import names
from protos.gen.envoy.config.core.v3.base_pb2 import RequestMethod
from protos.gen.envoy.data.accesslog.v3.accesslog_pb2 import HTTPAccessLogEntry
from sidecar.audit.access_log import tags_of
from sidecar.audit.request_spans import request_of, spans_of
from sidecar.wire.trace import below_ingress, drawn_below, traceparent
from tests.support.entry_spans import entry_spans

REQUEST = "9f0c1d2e-3b4a-4c5d-8e6f-708192a3b4c5"
TRACE = REQUEST.replace("-", "")
START = 1_700_000_000_000_000_000
MS = 1_000_000


def entry(details: str = "via_upstream", status: int = 200, *, traced: bool = False) -> HTTPAccessLogEntry:
    made = HTTPAccessLogEntry()
    common = made.common_properties
    common.start_time.FromNanoseconds(START)
    common.duration.FromNanoseconds(30 * MS)
    common.route_name = "POST /v1/chat/completions"
    common.downstream_direct_remote_address.socket_address.address = "192.0.2.77"
    common.custom_tags["revision"] = "1.1"
    common.custom_tags["trace_id"] = "-"
    common.custom_tags["check_us"] = "812"
    made.request.request_id = REQUEST
    made.request.path = "/v1/chat/completions?name=alice"
    made.request.request_method = RequestMethod.POST
    made.response.response_code.value = status
    made.response.response_code_details = details
    if traced:
        common.metadata.filter_metadata[names.AUTHZ_METADATA].update({names.TRACED: True})
    return made


def attributes(span: Span) -> dict[str, str]:
    return {each.key: each.value.string_value for each in span.attributes}


@pytest.mark.parametrize(
    ("details", "status", "traced", "told"),
    [
        ("via_upstream", 200, True, True),
        ("via_upstream", 200, False, False),
        ("via_upstream", 404, False, False),  # logged, and the model's own
        ("", 500, False, False),  # the model's, with our body
        ("ext_authz_denied", 401, False, True),
        ("ext_authz_error", 503, False, True),
        ("ext_proc_bartizan_content_denied", 403, False, True),
        ("upstream_reset_before_response_started{connection_failure}", 503, False, True),
        ("downstream_remote_disconnect", 0, False, False),
        ("downstream_remote_disconnect", 0, True, True),
        ("http2.remote_reset", 200, False, False),
        ("http2.remote_refuse", 200, False, False),
    ],
)
def test_what_the_guard_drew_and_what_was_refused_is_told(
    details: str, status: int, traced: bool, told: bool
) -> None:
    assert bool(entry_spans(entry(details, status, traced=traced))) is told


def test_what_envoys_own_tracer_tells_and_what_no_route_took_is_left_out() -> None:
    with_tracer, elsewhere, nameless = (entry("ext_authz_denied", 401) for _ in range(3))
    with_tracer.common_properties.custom_tags["trace_id"] = "a" * 32
    elsewhere.common_properties.custom_tags["revision"] = "-"
    nameless.request.request_id = "a-clients-own"
    assert [entry_spans(each) for each in (with_tracer, elsewhere, nameless)] == [[], [], []]


def test_the_models_part_lies_below_the_whole_and_has_its_own_times() -> None:
    made = entry(traced=True)
    made.common_properties.time_to_first_upstream_tx_byte.FromNanoseconds(2 * MS)
    made.common_properties.time_to_last_upstream_rx_byte.FromNanoseconds(29 * MS)
    made.common_properties.upstream_cluster = "model"
    whole, model = entry_spans(made)
    assert (whole.name, model.name) == ("ingress POST /v1/chat/completions", "router model egress")
    assert (whole.kind, model.kind) == (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT)
    assert (whole.start_time_unix_nano, whole.end_time_unix_nano) == (START, START + 30 * MS)
    assert (model.start_time_unix_nano, model.end_time_unix_nano) == (START + 2 * MS, START + 29 * MS)
    assert (whole.parent_span_id, model.parent_span_id) == (b"", whole.span_id)


def test_the_guards_spans_and_the_models_own_hang_below_them() -> None:
    made = entry(traced=True)
    made.common_properties.time_to_first_upstream_tx_byte.FromNanoseconds(2 * MS)
    whole, model = entry_spans(made)
    place = below_ingress(TRACE, sampled=True)
    assert (place.trace_id, place.span_id) == (whole.trace_id.hex(), whole.span_id.hex())
    assert traceparent(TRACE, sampled=True) == f"00-{model.trace_id.hex()}-{model.span_id.hex()}-01"


@pytest.mark.parametrize(
    ("details", "status", "wrong"),
    [
        ("via_upstream", 200, False),
        ("ext_authz_denied", 403, False),
        ("ext_authz_error", 503, True),
        ("downstream_remote_disconnect", 0, True),
        ("upstream_reset_after_response_started{protocol_error}", 200, True),
        ("ext_proc_error_gRPC_error_14{upstream}", 200, True),
        ("stream_idle_timeout", 200, True),
        ("stream_idle_timeout", 408, False),
    ],
)
def test_only_what_failed_is_an_error(details: str, status: int, wrong: bool) -> None:
    (span,) = entry_spans(entry(details, status, traced=True))
    assert (span.status.code == Status.STATUS_CODE_ERROR) is wrong


def test_nothing_that_a_client_sent_is_told() -> None:
    (span,) = entry_spans(entry("ext_authz_denied", 401))
    assert attributes(span) == {
        "bartizan.route": "POST /v1/chat/completions",
        "bartizan.revision": "1.1",
        "bartizan.check_us": "812",
        "http.method": "POST",
        "http.protocol": "PROTOCOL_UNSPECIFIED",
        "http.status_code": "401",
        "request_size": "0",
        "response_size": "0",
        "response_code_details": "ext_authz_denied",
    }


def test_they_travel_as_envoys_and_none_do_not_travel() -> None:
    assert request_of([], "i-1") == b""
    traced = entry(traced=True)
    sent = ExportTraceServiceRequest.FromString(request_of(spans_of(traced, tags_of(traced)), "i-1"))
    (resource,) = sent.resource_spans
    said = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert said == {"service.name": "bartizan-envoy", "service.instance.id": "i-1"}


@given(st.uuids(version=4), st.integers(0, names.TRACE_STEPS))
def test_a_request_is_drawn_by_its_id_and_the_more_the_larger_the_share(request: object, steps: int) -> None:
    trace_id = str(request).replace("-", "")
    assert not trace_id < drawn_below(0)
    assert trace_id < drawn_below(names.TRACE_STEPS)
    assert drawn_below(steps) <= drawn_below(min(steps + 1, names.TRACE_STEPS))
    assert (trace_id < drawn_below(steps)) is (int(trace_id[:8], 16) < steps * 2**32 // names.TRACE_STEPS)
