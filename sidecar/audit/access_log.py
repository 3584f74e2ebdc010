"""Native verdicts as evidence: what Envoy refused or let in without asking the guard, from its access-log service
(als.sock).

Refusals that the guard made itself are recorded by the worker; here only the rest becomes records.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import grpc
import msgspec

from bartizan.policy.bundle import GuardPlan
from bartizan.policy.names import HEADER_DECISION, RECORD_ENVOY, REVISION, TAG_TRACE
from bartizan.policy.schema import Jwt
from protos.gen.envoy.data.accesslog.v3 import accesslog_pb2
from protos.gen.envoy.service.accesslog.v3 import als_pb2, als_pb2_grpc
from sidecar.audit.evidence import count, truncated_address
from sidecar.audit.handed import decision_of, let_through
from sidecar.audit.ledger import Ledger
from sidecar.audit.native_token import caller, let_in
from sidecar.audit.record import Record
from sidecar.audit.request_spans import CLIENT_GONE, method_name, request_of, spans_of, trace_id_of

# response_code_details of answers that are the guard's or the model's own
_NOT_NATIVE = re.compile(r"(ext_authz_denied|ext_proc|via_upstream)(?!.*(error|timeout|failure))", re.DOTALL)
# those of an answer below 400 that came to its end; any other was broken off when its status was already out
_ENDED = frozenset({"", "direct_response"})
_CAUSES = (
    ("rbac_access_denied", "forbidden"),
    ("request_payload_too_large", "body_too_large"),
    ("request_body_too_large", "body_too_large"),
    ("direct_response", "undeclared"),
    ("route_not_found", "undeclared"),
    ("ext_authz_error", "guard_unavailable"),
    ("ext_proc", "guard_unavailable"),
    ("upstream", "model_unavailable"),
    *((details, "client_gone") for details in CLIENT_GONE),
    ("upgrade_failed", "forbidden"),
    ("path_normalization_failed", "protocol"),
    ("absolute_path_rejected", "protocol"),
    ("missing_host_header", "protocol"),
    ("low_version", "protocol"),
)
# what the compiled routes refuse by themselves
_ROUTED = {403: "engine_route", 413: "body_too_large", 415: "unsupported_encoding"}
_SILENT = ("stream_idle_timeout", 504)
"""The model said nothing; with another status the client may have been the one."""
NATIVE_CAUSES = frozenset({*(cause for _, cause in _CAUSES), *_ROUTED.values(), "protocol", "native"})
"""Every cause that is Envoy's own word."""
_GUARDS_ID = re.compile(r"[0-9a-f]{32}")


class InForce(NamedTuple):
    """What holds now, for entries that do not say it themselves."""

    policy: str
    plan_id: str
    instance_id: str
    issuers: Mapping[str, Jwt] = MappingProxyType({})


Context = Callable[[], InForce]


def in_force(plan: GuardPlan | None, instance_id: str) -> InForce:
    """Of the plan that is enforced, if any."""
    if plan is None:
        return InForce("", "", instance_id)
    return InForce(plan.policy, plan.id, instance_id, {jwt.issuer: jwt for jwt in plan.jwt})


def native_record(entry: accesslog_pb2.HTTPAccessLogEntry, context: InForce) -> Record | None:
    """A record of a native verdict, or None when the guard or the model gave this answer. A request that Envoy let in
    by itself leaves one, whatever the model answered.
    """
    common, response = entry.common_properties, entry.response
    details = response.response_code_details
    status = response.response_code.value
    native = let_in(entry)
    passed = _NOT_NATIVE.match(details) or (0 < status < 400 and details in _ENDED)
    if passed and not native:
        return None
    policy, plan_id, instance_id, issuers = context
    start = common.start_time
    # what the client sees in x-bartizan-decision, so that it can be asked for; where it left before, what it would have
    seen = response.response_headers.get(HEADER_DECISION) or decision_of(entry)
    decision = seen or common.stream_id or str(uuid.uuid4())  # without whole headers it has no stream id
    guarded = _GUARDS_ID.fullmatch(decision) is not None
    replaced = (guarded or native) and status > 0 and not details  # the custom_response filter gives none
    if guarded:
        # the guard let it pass and has a record of that id; of two with one id only one is kept
        decision += RECORD_ENVOY
    tenant, key_id, subject = caller(entry, issuers) if native else let_through(entry)
    tags = tags_of(entry)
    return Record(
        id=decision,
        time=start.seconds + start.nanos / 1e9,
        policy=policy,
        revision=tags.get(REVISION) or plan_id,
        source="envoy",
        phase="native",
        action="redact" if replaced else "allow" if passed else "deny",
        cause="model_error" if replaced else "allowed" if passed else native_cause(details, status),
        status=status,
        method=method_name(entry.request.request_method),
        # only declared routes let anybody in; their names are method and path
        path=common.route_name.partition(" ")[2] if native else "",
        tenant=tenant,
        key_id=key_id,
        subject_hash=subject,
        request_bytes=entry.request.request_body_bytes,
        response_bytes=response.response_body_bytes,
        trace_id=tags.get(TAG_TRACE) or trace_id_of(entry),
        source_address=truncated_address(common.downstream_direct_remote_address.socket_address.address),
        instance_id=instance_id,
    )


def tags_of(entry: accesslog_pb2.HTTPAccessLogEntry) -> dict[str, str]:
    """The tags that have a value; Envoy leaves out one without, or writes "-"."""
    return {
        name: value for name, value in entry.common_properties.custom_tags.items() if value not in {"", "-"}
    }


def native_cause(details: str, status: int = 0) -> str:
    """A constant word of a bounded set for Envoy's response code details."""
    if details == "direct_response" and status in _ROUTED:
        return _ROUTED[status]
    if (details, status) == _SILENT:
        return "model_unavailable"
    for prefix, cause in _CAUSES:
        if details.startswith(prefix):
            return cause
    return "protocol" if details.startswith(("http1", "http2", "http.")) else "native"


class AccessLogService(als_pb2_grpc.AccessLogServiceServicer):
    """Receives Envoy's streams of entries and gives records to `put`, and spans as OTLP to `put_spans` (None where nobody
    takes them: they cost far more than all else here). `ledger` is that of the running Envoy.
    """

    def __init__(
        self,
        put: Callable[[Sequence[bytes]], None],
        put_spans: Callable[[bytes], None] | None,
        context: Context,
        probe_path: str,
        ledger: Callable[[], Ledger],
    ) -> None:
        self._put = put
        self._put_spans = put_spans
        self._ledger = ledger
        self._context = context
        self._probe_path = probe_path

    async def StreamAccessLogs(self, requests: Any, context: Any) -> Any:  # noqa: ARG002, N802
        ledger = self._ledger()  # what a dead Envoy's stream still holds is none of its successor's
        message: als_pb2.StreamAccessLogsMessage
        async for message in requests:
            ledger.received += len(message.http_logs.log_entry)
            now = self._context()
            entries = [
                entry for entry in message.http_logs.log_entry if entry.request.path != self._probe_path
            ]
            if self._put_spans is not None:
                spans = (span for entry in entries for span in spans_of(entry, tags_of(entry)))
                self._put_spans(request_of(spans, now.instance_id))
            records = [native_record(entry, now) for entry in entries]
            made = [record for record in records if record is not None]
            for record in made:
                count(record)
            encoded = [msgspec.json.encode(record, order="deterministic") for record in made]
            if encoded:
                self._put(encoded)
        return als_pb2.StreamAccessLogsResponse()

    def register(self, server: grpc.aio.Server) -> None:
        """Add this service to a server."""
        als_pb2_grpc.add_AccessLogServiceServicer_to_server(self, server)
