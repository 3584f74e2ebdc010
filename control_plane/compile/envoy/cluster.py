"""The guarded model as Envoy's cluster: loopback, HTTP/1.1, never retried."""

from __future__ import annotations

from google.protobuf.wrappers_pb2 import UInt32Value

from bartizan.policy import names
from bartizan.xds.resources import packed
from control_plane.compile.envoy.values import duration
from control_plane.compile.resolve import Resolved
from protos.gen.envoy.config.cluster.v3.circuit_breaker_pb2 import CircuitBreakers
from protos.gen.envoy.config.cluster.v3.cluster_pb2 import Cluster
from protos.gen.envoy.config.core.v3.address_pb2 import Address, SocketAddress
from protos.gen.envoy.config.core.v3.protocol_pb2 import Http1ProtocolOptions, HttpProtocolOptions
from protos.gen.envoy.config.endpoint.v3.endpoint_components_pb2 import (
    Endpoint,
    LbEndpoint,
    LocalityLbEndpoints,
)
from protos.gen.envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from protos.gen.envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2 as upstream

# Model servers close idle connections (uvicorn after 5 s, gunicorn after 2 s). Without retries a request sent on a
# connection that the model is just closing would fail, so Envoy is always the first to close.
IDLE_SECONDS = 1.0

_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def model_cluster(resolved: Resolved) -> Cluster:
    """How much reaches the model is decided by limits, not by circuit breakers: those only stop runaway queues."""
    address = Address(socket_address=SocketAddress(address="127.0.0.1", port_value=resolved.spec.model.port))
    options = upstream.HttpProtocolOptions(
        common_http_protocol_options=HttpProtocolOptions(idle_timeout=duration(IDLE_SECONDS)),
        explicit_http_config=upstream.HttpProtocolOptions.ExplicitHttpConfig(
            http_protocol_options=Http1ProtocolOptions()
        ),
    )
    return Cluster(
        name=names.CLUSTER_MODEL,
        type=Cluster.STATIC,
        connect_timeout=duration(1),
        load_assignment=ClusterLoadAssignment(
            cluster_name=names.CLUSTER_MODEL,
            endpoints=[LocalityLbEndpoints(lb_endpoints=[LbEndpoint(endpoint=Endpoint(address=address))])],
        ),
        circuit_breakers=CircuitBreakers(
            thresholds=[
                CircuitBreakers.Thresholds(
                    max_connections=UInt32Value(value=4096),
                    max_pending_requests=UInt32Value(value=4096),
                    max_requests=UInt32Value(value=65536),
                )
            ]
        ),
        typed_extension_protocol_options={_OPTIONS: packed(options)},
    )
