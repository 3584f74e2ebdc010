"""Envoy's own tracer, for policies by which it lets requests in that no guard sees. How many are traced is said on the
routes, not in the listener. Elsewhere the guard draws, and the agent makes Envoy's spans of its access log: a tracer
costs every request the same, whatever is sampled (ADR 83).
"""

from __future__ import annotations

from google.protobuf.wrappers_pb2 import UInt32Value

from bartizan.policy import names
from bartizan.xds.resources import packed
from control_plane.compile.envoy.grpc_service import agent_service
from control_plane.compile.envoy.values import TRUE
from control_plane.compile.resolve import Resolved
from protos.gen.envoy.config.route.v3.route_components_pb2 import Tracing as RouteTracing
from protos.gen.envoy.config.trace.v3.http_tracer_pb2 import Tracing
from protos.gen.envoy.config.trace.v3.opentelemetry_pb2 import OpenTelemetryConfig
from protos.gen.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from protos.gen.envoy.type.tracing.v3.custom_tag_pb2 import CustomTag
from protos.gen.envoy.type.v3.percent_pb2 import FractionalPercent, Percent

SERVICE = "bartizan-envoy"

_UNTOLD = ("user_agent", "http.url", "peer.address")
"""Envoy's own tags that hold what a client sent or its whole address; ours of the same name take their place."""


def tracing(resolved: Resolved) -> HttpConnectionManager.Tracing | None:
    """The tracer, if there is to be one. No client can switch tracing on or off; without a route nothing is sampled."""
    if not resolved.envoy_traces:
        return None
    return HttpConnectionManager.Tracing(
        provider=Tracing.Http(
            name="envoy.tracers.opentelemetry",
            typed_config=packed(
                OpenTelemetryConfig(grpc_service=agent_service(names.CLUSTER_OTLP), service_name=SERVICE)
            ),
        ),
        client_sampling=Percent(value=0),
        random_sampling=Percent(value=0),
        overall_sampling=Percent(value=100),
        spawn_upstream_span=TRUE,
        # Paths, queries and headers may hold personal data: spans name the declared route instead.
        max_path_tag_length=UInt32Value(value=1),
        custom_tags=[
            CustomTag(tag="bartizan.route", value="%ROUTE_NAME%"),
            *(CustomTag(tag=tag, literal=CustomTag.Literal(value="-")) for tag in _UNTOLD),
        ],
    )


def sampling(resolved: Resolved) -> RouteTracing | None:
    """The policy's traceSample; None where Envoy has no tracer.

    Envoy draws a number below 10,000 from the request id and takes it modulo the denominator: out of MILLION, a share of
    1 % would already trace every request (Envoy's `HttpTracerUtility` and `UUIDRequestIDExtension`).
    """
    if not resolved.envoy_traces:
        return None
    part = FractionalPercent(numerator=resolved.trace_steps, denominator=FractionalPercent.TEN_THOUSAND)
    return RouteTracing(
        client_sampling=FractionalPercent(),
        random_sampling=part,
        overall_sampling=FractionalPercent(numerator=100),
    )
