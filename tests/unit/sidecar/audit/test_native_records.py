"""Which of Envoy's access-log entries become records, and what they say."""

from __future__ import annotations

from typing import Any

import pytest

from bartizan.policy import names
from bartizan.policy.schema import Jwt
from protos.gen.envoy.config.core.v3.base_pb2 import RequestMethod
from protos.gen.envoy.data.accesslog.v3 import accesslog_pb2
from protos.gen.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from sidecar.audit.access_log import InForce, in_force, native_cause, native_record
from sidecar.audit.evidence import subject_hash
from sidecar.model.request import Identity
from sidecar.wire.translate_check import Handed, allow_reply, handed_to_envoy
from tests.support.guard import guard_plan

JANE = Identity(subject="jane", tenant="acme", method="api_key", key_id="k1")
CONTEXT = InForce("default/tiny", "1.2", "instance-1")


def entry(details: str, status: int) -> accesslog_pb2.HTTPAccessLogEntry:
    made = accesslog_pb2.HTTPAccessLogEntry()
    made.common_properties.stream_id = "6a1b1c9e-0000-4000-8000-000000000000"
    made.common_properties.start_time.FromSeconds(1_700_000_000)
    made.common_properties.downstream_direct_remote_address.socket_address.address = "192.0.2.77"
    made.common_properties.custom_tags["revision"] = "1.1"
    made.common_properties.custom_tags["trace_id"] = "a" * 32
    made.request.path = "/personal/data?name=alice"
    made.request.request_method = RequestMethod.POST
    made.response.response_code.value = status
    made.response.response_code_details = details
    return made


@pytest.mark.parametrize(
    ("details", "route", "trace_id"),
    [
        ("ext_authz_error", "POST /predict", "9f0c1d2e3b4a4c5d8e6f708192a3b4c5"),
        ("direct_response", "undeclared", "9f0c1d2e3b4a4c5d8e6f708192a3b4c5"),
        ("path_normalization_failed", "", ""),  # no route was looked for: the id may be the client's own
    ],
)
def test_without_envoys_tracer_the_id_of_a_request_that_a_route_took_names_the_trace(
    details: str, route: str, trace_id: str
) -> None:
    made = entry(details, 400)
    made.common_properties.route_name = route
    made.common_properties.custom_tags["trace_id"] = "-"  # what Envoy says without one
    made.request.request_id = "9f0c1d2e-3b4a-4c5d-8e6f-708192a3b4c5"
    record = native_record(made, CONTEXT)
    assert record is not None
    assert record.trace_id == trace_id


@pytest.mark.parametrize(
    ("details", "status", "cause"),
    [
        ("rbac_access_denied_matched_policy[probe]", 403, "forbidden"),
        ("request_payload_too_large", 413, "body_too_large"),
        ("direct_response", 404, "undeclared"),
        ("direct_response", 413, "body_too_large"),
        ("direct_response", 415, "unsupported_encoding"),
        ("route_not_found", 404, "undeclared"),
        ("path_normalization_failed", 400, "protocol"),
        ("upgrade_failed", 403, "forbidden"),
        ("ext_authz_error", 503, "guard_unavailable"),
        ("ext_proc_error_gRPC_error_14{upstream}", 503, "guard_unavailable"),
        ("upstream_reset_before_response_started{connection_failure}", 503, "model_unavailable"),
        # broken off when the status was out
        ("upstream_reset_after_response_started{protocol_error}", 200, "model_unavailable"),
        ("ext_proc_error_gRPC_error_14{upstream}", 200, "guard_unavailable"),
        ("downstream_remote_disconnect", 200, "client_gone"),
        ("stream_idle_timeout", 200, "native"),
        ("stream_idle_timeout", 504, "model_unavailable"),
        ("stream_idle_timeout", 408, "native"),
        ("http1.codec_error", 400, "protocol"),
        ("http2.violation.of.messaging.rule", 0, "protocol"),
        ("http2.remote_reset", 200, "client_gone"),
        ("http2.remote_refuse", 200, "client_gone"),
        ("something_new{with details}", 400, "native"),
    ],
)
def test_what_envoy_refused_itself_is_recorded_with_a_constant_cause(
    details: str, status: int, cause: str
) -> None:
    record = native_record(entry(details, status), CONTEXT)
    assert record is not None
    assert (record.cause, record.status, record.source, record.phase) == (cause, status, "envoy", "native")
    assert (record.policy, record.revision, record.instance_id) == ("default/tiny", "1.1", "instance-1")
    assert (record.id, record.trace_id) == ("6a1b1c9e-0000-4000-8000-000000000000", "a" * 32)
    assert record.source_address == "192.0.2.0/24"
    assert record.method == "POST"
    assert "alice" not in repr(record)


@pytest.mark.parametrize(
    ("details", "status"),
    [
        ("ext_authz_denied", 401),
        ("ext_proc_immediate_response", 403),
        ("via_upstream", 500),
        ("via_upstream", 404),
        ("direct_response", 204),
    ],
)
def test_answers_of_the_guard_and_of_the_model_are_not_native_verdicts(details: str, status: int) -> None:
    assert native_record(entry(details, status), CONTEXT) is None


def test_a_record_has_the_id_that_the_client_was_given() -> None:
    made = entry("direct_response", 404)
    made.response.response_headers["x-bartizan-decision"] = "given"
    record = native_record(made, CONTEXT)
    assert record is not None
    assert record.id == "given"


def test_requests_whose_headers_never_came_whole_have_a_record_each() -> None:
    made = entry("downstream_remote_disconnect", 0)
    made.common_properties.stream_id = ""
    records = [native_record(made, CONTEXT) for _ in range(2)]
    assert len({record.id for record in records if record is not None and record.id}) == 2


def test_a_client_that_left_before_an_answer_is_found_by_the_decision_that_let_it_through() -> None:
    reply = CheckResponse.FromString(allow_reply(handed_to_envoy("c" * 32, "1.1", JANE)))
    made = entry("downstream_remote_disconnect", 0)
    made.common_properties.metadata.filter_metadata[names.AUTHZ_METADATA].CopyFrom(reply.dynamic_metadata)
    record = native_record(made, CONTEXT)
    assert record is not None
    assert record.id == "c" * 32 + "-e"


def test_a_record_beside_one_of_the_guard_has_an_id_of_its_own() -> None:
    made = entry("upstream_reset_before_response_started{connection_failure}", 503)
    made.response.response_headers["x-bartizan-decision"] = "c" * 32
    record = native_record(made, CONTEXT)
    assert record is not None
    assert record.id == "c" * 32 + "-e"


@pytest.mark.parametrize(
    ("handed", "told"),
    [
        (Handed(decision_id="c" * 32, revision="1.1", identity=JANE), ("acme", "k1", subject_hash("jane"))),
        (handed_to_envoy("c" * 32, "1.1", JANE), ("acme", "k1", "")),
        (handed_to_envoy("c" * 32, "1.1", None), ("", "", "")),
    ],
)
def test_what_became_of_a_request_that_the_guard_let_through_is_recorded_with_who_called(
    handed: Handed, told: tuple[str, str, str]
) -> None:
    reply = CheckResponse.FromString(allow_reply(handed))
    made = entry("upstream_reset_before_response_started{connection_failure}", 503)
    made.common_properties.metadata.filter_metadata[names.AUTHZ_METADATA].CopyFrom(reply.dynamic_metadata)
    record = native_record(made, CONTEXT)
    assert record is not None
    assert (record.tenant, record.key_id, record.subject_hash) == told
    assert "jane" not in repr(record)


def test_metadata_that_no_guard_wrote_names_nobody() -> None:
    for said in ("", "[]", '{"tenant": 1}', "no json"):
        made = entry("ext_authz_error", 503)
        made.common_properties.metadata.filter_metadata[names.AUTHZ_METADATA].update({names.HANDED: said})
        record = native_record(made, CONTEXT)
        assert record is not None
        assert (record.tenant, record.key_id, record.subject_hash) == ("", "", "")


def test_causes_come_from_a_bounded_set() -> None:
    assert native_cause("<script>") == "native"


def let_in_entry(
    details: str, status: int, verdict: str = "allowed", **claims: Any
) -> accesslog_pb2.HTTPAccessLogEntry:
    made = entry(details, status)
    made.common_properties.route_name = "POST /in"
    metadata = made.common_properties.metadata.filter_metadata
    metadata[names.TOKEN_METADATA].update({names.TOKEN_RESULT: verdict})
    payload = {"iss": "https://idp.example", "sub": "alice", "org": "acme", **claims}
    metadata[names.JWT_METADATA].update({"payload": payload})
    return made


JWT = Jwt(issuer="https://idp.example", audiences=("a",), claims={"tenant": "org"})
KNOWN = in_force(guard_plan(policy="default/tiny", jwt=(JWT,)), "instance-1")


@pytest.mark.parametrize("status", [200, 204, 404, 422])
def test_whom_envoy_let_in_leaves_the_record_that_the_guard_would_have_left(status: int) -> None:
    record = native_record(let_in_entry("via_upstream", status), KNOWN)
    assert record is not None
    assert (record.source, record.phase, record.action, record.cause) == (
        "envoy",
        "native",
        "allow",
        "allowed",
    )
    assert (record.tenant, record.path, record.status) == ("acme", "/in", status)
    assert record.subject_hash == subject_hash("https://idp.example#alice")
    assert "alice" not in repr(record)


def test_whom_envoy_did_not_let_in_is_the_guards_to_record() -> None:
    assert native_record(let_in_entry("via_upstream", 200, verdict="denied"), KNOWN) is None


@pytest.mark.parametrize(
    ("details", "status", "action", "cause"),
    [
        ("request_payload_too_large", 413, "deny", "body_too_large"),
        ("upstream_reset_before_response_started{connection_failure}", 503, "deny", "model_unavailable"),
        ("downstream_remote_disconnect", 0, "deny", "client_gone"),
        ("", 502, "redact", "model_error"),
    ],
)
def test_what_ends_otherwise_for_a_caller_that_envoy_let_in_names_the_caller(
    details: str, status: int, action: str, cause: str
) -> None:
    record = native_record(let_in_entry(details, status), KNOWN)
    assert record is not None
    assert (record.action, record.cause, record.tenant, record.path) == (action, cause, "acme", "/in")


@pytest.mark.parametrize("claims", [{"iss": "https://gone.example"}, {"iss": 1}])
def test_a_token_of_an_issuer_that_the_policy_no_longer_knows_names_nobody(claims: dict[str, Any]) -> None:
    record = native_record(let_in_entry("via_upstream", 200, **claims), KNOWN)
    assert record is not None
    assert (record.action, record.tenant, record.subject_hash) == ("allow", "", "")
