"""Envoy's clusters of processes behind unix sockets; that of the guard workers says what happens when one fails."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import UInt32Value

from bartizan.policy import names
from bartizan.xds.resources import packed
from protos.gen.envoy.config.cluster.v3.circuit_breaker_pb2 import CircuitBreakers
from protos.gen.envoy.config.cluster.v3.cluster_pb2 import Cluster
from protos.gen.envoy.config.cluster.v3.outlier_detection_pb2 import OutlierDetection
from protos.gen.envoy.config.core.v3.address_pb2 import Address, Pipe
from protos.gen.envoy.config.core.v3.protocol_pb2 import Http2ProtocolOptions
from protos.gen.envoy.config.endpoint.v3.endpoint_components_pb2 import (
    Endpoint,
    LbEndpoint,
    LocalityLbEndpoints,
)
from protos.gen.envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from protos.gen.envoy.config.route.v3.route_components_pb2 import RetryPolicy
from protos.gen.envoy.extensions.retry.host.previous_hosts.v3.previous_hosts_pb2 import PreviousHostsPredicate
from protos.gen.envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2 as upstream

PICKS: Final = 32
"""How often a retry picks before it takes a worker that failed already. A dead worker is the idlest, so that Envoy's
least-request balancer picks it from two in three times of four: with three picks one request of a hundred used up its
retries there.
"""
_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def local_cluster(name: str, sockets: Iterable[Path], retries: RetryPolicy | None = None) -> Cluster:
    """HTTP/2 over the sockets; `retries` holds for every call, whoever makes it."""
    options = upstream.HttpProtocolOptions(
        explicit_http_config=upstream.HttpProtocolOptions.ExplicitHttpConfig(
            http2_protocol_options=Http2ProtocolOptions()
        ),
        retry_policy=retries,
    )
    endpoints = [LbEndpoint(endpoint=Endpoint(address=_pipe(path))) for path in sockets]
    return Cluster(
        name=name,
        type=Cluster.STATIC,
        connect_timeout=Duration(seconds=1),
        load_assignment=ClusterLoadAssignment(
            cluster_name=name, endpoints=[LocalityLbEndpoints(lb_endpoints=endpoints)]
        ),
        typed_extension_protocol_options={_OPTIONS: packed(options)},
    )


def guard_cluster(sockets: list[Path]) -> Cluster:
    """Workers may die: the default breakers would swallow the retries that then save requests. A worker that failed is
    passed over for a moment; when all did, Envoy asks them all, and a retry finds the one that lives. Were one always
    kept, that could be the dead one. At once: Envoy else gathers such changes for a second.
    """
    cluster = local_cluster(names.CLUSTER_GUARD, sockets, _retries(len(sockets)))
    cluster.lb_policy = Cluster.LEAST_REQUEST
    cluster.circuit_breakers.thresholds.append(
        CircuitBreakers.Thresholds(
            max_retries=UInt32Value(value=10_000),
            max_requests=UInt32Value(value=100_000),
            max_pending_requests=UInt32Value(value=100_000),
            max_connections=UInt32Value(value=10_000),
        )
    )
    cluster.common_lb_config.update_merge_window.CopyFrom(seconds(0))
    one, always = UInt32Value(value=1), UInt32Value(value=100)
    cluster.outlier_detection.CopyFrom(
        OutlierDetection(
            consecutive_gateway_failure=one,
            enforcing_consecutive_gateway_failure=always,
            split_external_local_origin_errors=True,
            consecutive_local_origin_failure=one,
            interval=seconds(0.2),
            base_ejection_time=seconds(0.5),
            max_ejection_time=seconds(2),  # else half a second more with each failure, up to five minutes
            max_ejection_percent=always,
        )
    )
    return cluster


def _retries(workers: int) -> RetryPolicy:
    """Of the cluster, which Envoy reads once: a GrpcService's own is read again for every call. One worker is asked
    again, of several another one. How long an attempt may take Envoy does not read here (attempts.py).
    """
    policy = RetryPolicy(
        retry_on="connect-failure,refused-stream,unavailable,cancelled,reset,resource-exhausted",
        num_retries=UInt32Value(value=5),
        retry_back_off=RetryPolicy.RetryBackOff(base_interval=seconds(0.001), max_interval=seconds(0.1)),
    )
    if workers > 1:
        policy.retry_host_predicate.add(
            name="envoy.retry_host_predicates.previous_hosts", typed_config=packed(PreviousHostsPredicate())
        )
        policy.host_selection_retry_max_attempts = PICKS
    return policy


def _pipe(path: Path) -> Address:
    return Address(pipe=Pipe(path=str(path)))


def seconds(value: float) -> Duration:
    """Envoy's durations."""
    whole = int(value)
    return Duration(seconds=whole, nanos=round((value - whole) * 1_000_000_000))
