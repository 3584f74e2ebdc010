"""Envoy's own refusals in the client's protocol: a general message, a decision id, never what matched.

The guard's denials are local replies for Envoy too; they are told apart by their x-bartizan-decision header and
left as they are.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.struct_pb2 import Struct

from bartizan.anthropic_errors import OF_THE_API, error_type
from bartizan.policy import names
from bartizan.policy.schema import Protocol
from bartizan.xds.resources import packed
from control_plane.compile.envoy.values import header
from protos.gen.envoy.config.accesslog.v3.accesslog_pb2 import (
    AccessLogFilter,
    AndFilter,
    ComparisonFilter,
    ExtensionFilter,
    StatusCodeFilter,
)
from protos.gen.envoy.config.core.v3.base_pb2 import HeaderValueOption, RuntimeUInt32
from protos.gen.envoy.config.core.v3.substitution_format_string_pb2 import SubstitutionFormatString
from protos.gen.envoy.extensions.access_loggers.filters.cel.v3.cel_pb2 import ExpressionFilter
from protos.gen.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    LocalReplyConfig,
    ResponseMapper,
)

UNAVAILABLE = "The service can't decide about this request right now; try again."
NOT_FOUND = "There is no such endpoint."
TOO_LARGE = "The request body is too large."
ENCODED = "This endpoint takes uncompressed bodies only."
REFUSED = "The request was refused."
UNREACHED = "The model could not be reached."
SILENT = "The model did not answer in time."
BROKE_OFF = "The model broke off before its answer was complete."

RETRY_AFTER_SECONDS = "1"

# A body can't name its error by a status that is known only when it happens.
_NAMED: dict[Protocol, tuple[int, ...]] = {"anthropic": (400, 403, 408, 431)}
# The guard's id when it let the request pass before.
_GUARDS_ID = f'{{"command": "DYNAMIC_METADATA", "param": "{names.AUTHZ_METADATA}:decision_id"}}'
# Envoy's own words for what became of the way to the model. Too many requests at once are no fault of the model's.
_UNREACHED = " || ".join(
    f"response.code_details.contains('{word}')"
    for word in ("connection_failure", "connection_timeout", "no_healthy_upstream")
)
_SILENT = "response.code_details in ['stream_idle_timeout', 'response_timeout', 'upstream_response_timeout']"
_BROKE_OFF = (
    "response.code_details.startsWith('upstream_reset') && !response.code_details.contains('overflow')"
)
DECISION = f'%COALESCE({{"operators": [{_GUARDS_ID}, "STREAM_ID", "UNIQUE_ID"]}})%'
"""Of an answer of the model."""
# Never the stream's id, which is the client's x-request-id until Envoy has drawn one: the first refusals come before.
_OWN_DECISION = f'%COALESCE({{"operators": [{_GUARDS_ID}, "UNIQUE_ID"]}})%'


def local_reply(protocol: Protocol) -> LocalReplyConfig:
    """The first mapper that fits is used: by status, then a general one."""
    retry = header("retry-after", RETRY_AFTER_SECONDS)
    return LocalReplyConfig(
        mappers=[
            _mapper(protocol, NOT_FOUND, 404),
            _mapper(protocol, TOO_LARGE, 413),
            _mapper(protocol, ENCODED, 415),
            _about_model(protocol, UNREACHED, 503, _UNREACHED, retry),
            _about_model(protocol, SILENT, 504, _SILENT),
            _about_model(protocol, BROKE_OFF, 503, _BROKE_OFF, retry),
            _about_model(protocol, BROKE_OFF, 502, _BROKE_OFF),
            _mapper(protocol, UNAVAILABLE, 503, retry),
            _hung_guard(protocol, retry),
            *(_mapper(protocol, REFUSED, status) for status in _NAMED.get(protocol, ())),
            _mapper(protocol, REFUSED),
        ]
    )


def _mapper(
    protocol: Protocol, message: str, status: int | None = None, *headers: HeaderValueOption
) -> ResponseMapper:
    from_envoy = _cel(f"!('{names.HEADER_DECISION}' in response.headers)")
    filters = from_envoy if status is None else _all(from_envoy, _status(status))
    return ResponseMapper(
        filter=filters,
        body_format_override=body_format(protocol, message, status=status),
        headers_to_add=[header(names.HEADER_DECISION, _OWN_DECISION), *headers],
    )


def _about_model(
    protocol: Protocol, message: str, status: int, details: str, *headers: HeaderValueOption
) -> ResponseMapper:
    mapper = _mapper(protocol, message, status, *headers)
    mapper.filter.and_filter.filters.append(_cel(details))
    return mapper


def _hung_guard(protocol: Protocol, retry: HeaderValueOption) -> ResponseMapper:
    """A guard that answers too late in ext_proc is a 504 for Envoy whatever status_on_error says; here it is what it
    would be had the guard died.
    """
    mapper = _about_model(protocol, UNAVAILABLE, 504, "response.code_details.startsWith('ext_proc')", retry)
    mapper.body_format_override.CopyFrom(body_format(protocol, UNAVAILABLE, status=503))
    mapper.status_code.value = 503
    return mapper


def body_format(
    protocol: Protocol,
    message: str,
    decision: str = f"%RESPONSE_HEADER({names.HEADER_DECISION})%",
    *,
    status: int | None = None,
) -> SubstitutionFormatString:
    """Like the guard's own error bodies: the protocol's error object, else problem+json (RFC 9457).

    status: None where it is known only when it happens.
    """
    body = Struct()
    content_type = "application/json"
    if protocol == "anthropic":
        error = {"type": OF_THE_API if status is None else error_type(status), "message": message}
        body.update({"type": "error", "error": error, "request_id": f"bartizan_{decision}"})
    elif protocol in {"kserve_v1", "kserve_v2", "ollama"}:
        body.update({"error": message, "decision": decision})
    elif protocol == "mcp":
        fault: dict[str, Any] = {"code": -32001, "message": message, "data": {"decision": decision}}
        body.update({"jsonrpc": "2.0", "id": None, "error": fault})
    elif protocol == "openai":
        body.update({"error": {"message": message, "type": "gateway_error", "code": "%RESPONSE_CODE%"}})
    else:
        content_type = "application/problem+json"
        body.update({"type": "about:blank", "title": message, "status": "%RESPONSE_CODE%"})
        body.update({"decision": decision})
    return SubstitutionFormatString(json_format=body, content_type=content_type)


def _cel(expression: str) -> AccessLogFilter:
    return AccessLogFilter(
        extension_filter=ExtensionFilter(
            name="envoy.access_loggers.extension_filters.cel",
            typed_config=packed(ExpressionFilter(expression=expression)),
        )
    )


def _status(status: int) -> AccessLogFilter:
    value = RuntimeUInt32(default_value=status, runtime_key=f"bartizan.local_reply.{status}")
    return AccessLogFilter(
        status_code_filter=StatusCodeFilter(comparison=ComparisonFilter(op=ComparisonFilter.EQ, value=value))
    )


def _all(*filters: AccessLogFilter) -> AccessLogFilter:
    return AccessLogFilter(and_filter=AndFilter(filters=filters))
