"""Spans: Envoy's OpenTelemetry tracer sends to the agent. How many is said on the routes, not in the listener; only
whether there is a tracer at all is said here, since one costs the same whatever is sampled (ADR 69).
"""

from __future__ import annotations

from google.protobuf.wrappers_pb2 import UInt32Value

from bartizan.policy import names
from bartizan.xds.resources import packed
from control_plane.compile.envoy.grpc_service import agent_service
from control_plane.compile.envoy.values import TRUE
from protos.gen.envoy.config.route.v3.route_components_pb2 import Tracing as RouteTracing
from protos.gen.envoy.config.trace.v3.http_tracer_pb2 import Tracing
from protos.gen.envoy.config.trace.v3.opentelemetry_pb2 import OpenTelemetryConfig
from protos.gen.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from protos.gen.envoy.type.tracing.v3.custom_tag_pb2 import CustomTag
from protos.gen.envoy.type.v3.percent_pb2 import FractionalPercent, Percent

SERVICE = "bartizan-envoy"

_STEPS = 10_000

_UNTOLD = ("user_agent", "http.url", "peer.address")
"""Envoy's own tags that hold what a client sent or its whole address; ours of the same name take their place."""


def tracing(share: float) -> HttpConnectionManager.Tracing | None:
    """The tracer, or None for a policy that traces nothing. No client can switch tracing on or off; without a route
    nothing is sampled.
    """
    if share == 0:
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


def sampling(share: float) -> RouteTracing:
    """The policy's traceSample, in steps of 0.01 %; any share above 0 is at least one step.

    Envoy draws a number below 10,000 from the request id and takes it modulo the denominator: out of MILLION, a share of
    1 % would already trace every request (Envoy's `HttpTracerUtility` and `UUIDRequestIDExtension`).
    """
    steps = max(round(share * _STEPS), 1 if share else 0)
    part = FractionalPercent(numerator=steps, denominator=FractionalPercent.TEN_THOUSAND)
    return RouteTracing(
        client_sampling=FractionalPercent(),
        random_sampling=part,
        overall_sampling=FractionalPercent(numerator=100),
    )


def no_sampling() -> RouteTracing:
    """For routes that only refuse or only answer probes."""
    return sampling(0)
