"""ext_authz: who calls, how much, and may they. The guard decides by headers alone; every policy has it."""

from __future__ import annotations

from bartizan.policy import names
from control_plane.compile.envoy.grpc_service import guard_service
from control_plane.compile.envoy.values import http_filter
from control_plane.compile.resolve import Resolved
from protos.gen.envoy.config.core.v3.config_source_pb2 import ApiVersion
from protos.gen.envoy.extensions.filters.http.ext_authz.v3.ext_authz_pb2 import (
    CheckSettings,
    ExtAuthz,
    ExtAuthzPerRoute,
)
from protos.gen.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpFilter,
)
from protos.gen.envoy.type.v3.http_status_pb2 import HttpStatus, StatusCode

NAME = "envoy.filters.http.ext_authz"


def build(resolved: Resolved) -> HttpFilter | None:  # noqa: ARG001 - every filter has this signature
    """Always there: a request that no guard answered for is refused with 503."""
    return http_filter(
        NAME,
        ExtAuthz(
            grpc_service=guard_service(names.CHECK_SECONDS),
            transport_api_version=ApiVersion.V3,
            failure_mode_allow=False,
            status_on_error=HttpStatus(code=StatusCode.ServiceUnavailable),
            validate_mutations=True,
            # Only the guard says what the model's route is; a changed header must not pick another one.
            clear_route_cache=False,
        ),
    )


def per_route(resolved: Resolved) -> ExtAuthzPerRoute:
    """The route names the plan by which the guard decides."""
    context = {names.REVISION: resolved.plan_id}
    if resolved.content_hop:
        context[names.CONTENT] = "1"
    return ExtAuthzPerRoute(check_settings=CheckSettings(context_extensions=context))
