"""ext_authz: who calls, how much, and may they. The guard decides by headers; where no check changes a body or reads an
answer, small plain bodies come with the same call and ext_proc is left out.
"""

from __future__ import annotations

from bartizan.policy import names
from control_plane.compile.envoy.filters import native_token
from control_plane.compile.envoy.filters.limits import BODY_IN_CHECK
from control_plane.compile.envoy.grpc_service import guard_call
from control_plane.compile.envoy.values import http_filter
from control_plane.compile.resolve import Resolved
from protos.gen.envoy.config.core.v3.config_source_pb2 import ApiVersion
from protos.gen.envoy.extensions.filters.http.ext_authz.v3.ext_authz_pb2 import (
    BufferSettings,
    CheckSettings,
    ExtAuthz,
    ExtAuthzPerRoute,
)
from protos.gen.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpFilter,
)
from protos.gen.envoy.type.matcher.v3.string_pb2 import ListStringMatcher, StringMatcher
from protos.gen.envoy.type.v3.http_status_pb2 import HttpStatus, StatusCode

NAME = "envoy.filters.http.ext_authz"


def build(resolved: Resolved) -> HttpFilter | None:
    """Always there: a request that no guard answered for is refused with 503."""
    return http_filter(
        NAME,
        ExtAuthz(
            grpc_service=guard_call(names.CHECK_SECONDS),
            transport_api_version=ApiVersion.V3,
            failure_mode_allow=False,
            status_on_error=HttpStatus(code=StatusCode.ServiceUnavailable),
            validate_mutations=True,
            # Each header more is copied twice on its way, and cookies are none of the guard's business.
            allowed_headers=ListStringMatcher(
                patterns=[StringMatcher(exact=name) for name in names.CHECKED_HEADERS]
            ),
            # how long the guard was waited for, for the request's span
            emit_filter_state_stats=not resolved.envoy_traces,
            # Only the guard says what the model's route is; a changed header must not pick another one.
            clear_route_cache=False,
            # The guard is asked unless Envoy itself let the token in.
            filter_enabled_metadata=native_token.verdict(invert=True) if resolved.native_tokens else None,
            # Envoy reads pack_as_bytes here only, never on a route (seen on 1.40).
            with_request_body=_whole(BODY_IN_CHECK) if resolved.body_in_check else None,
        ),
    )


def per_route(resolved: Resolved, *, content: bool = True) -> ExtAuthzPerRoute:
    """The route names the plan by which the guard decides. `content`: the content hop follows where there is one."""
    context = _context(resolved)
    if content and resolved.content_hop:
        context[names.CONTENT] = "1"
    settings = CheckSettings(
        context_extensions=context, disable_request_body_buffering=resolved.body_in_check
    )
    return ExtAuthzPerRoute(check_settings=settings)


def with_body(resolved: Resolved) -> ExtAuthzPerRoute:
    """On routes that only take bodies which may come with the call."""
    context = {**_context(resolved), names.BODY: "1"}
    settings = CheckSettings(context_extensions=context, with_request_body=_whole(largest_body(resolved)))
    return ExtAuthzPerRoute(check_settings=settings)


def _context(resolved: Resolved) -> dict[str, str]:
    context = {names.REVISION: resolved.plan_id}
    if resolved.trace_steps and not resolved.envoy_traces:
        context[names.TRACE] = str(resolved.trace_steps)
    return context


def largest_body(resolved: Resolved) -> int:
    """Bytes of a body that comes with the call."""
    return min(BODY_IN_CHECK, resolved.body_max)


def _whole(size: int) -> BufferSettings:
    """The whole body or 413: a part of one proves nothing."""
    return BufferSettings(max_request_bytes=size, allow_partial_message=False, pack_as_bytes=True)
