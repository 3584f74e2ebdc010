"""How Envoy calls the guard and the agent over their unix sockets: deadlines and retries of gRPC calls."""

from __future__ import annotations

from google.protobuf.wrappers_pb2 import UInt32Value

from bartizan.policy import names
from bartizan.xds.resources import packed
from control_plane.compile.envoy.values import duration
from protos.gen.envoy.config.core.v3.backoff_pb2 import BackoffStrategy
from protos.gen.envoy.config.core.v3.base_pb2 import HeaderValue, RetryPolicy
from protos.gen.envoy.config.core.v3.grpc_service_pb2 import GrpcService
from protos.gen.envoy.extensions.retry.host.previous_hosts.v3.previous_hosts_pb2 import PreviousHostsPredicate

ATTEMPT_SECONDS = 1.0
"""A worker that does not begin to answer for so long hangs. Much shorter, and a burst that only has to queue would be
asked for again and again, until the worker does nothing else; the supervisor kills a hung worker anyway."""

PICKS = 32
"""How often a retry picks before it takes a worker that failed already. A dead worker is the idlest, so that Envoy's
least-request balancer picks it from two in three times of four: with three picks one request of a hundred used up its
retries there.
"""


def guard_service(timeout: float | None = None) -> GrpcService:
    """A guard worker, another one when the first dies. `timeout` in seconds bounds all attempts together.

    Without the header Envoy would take the back-off's max_interval as the timeout of each attempt. It retries only by
    GrpcService.retry_policy, not by the field of the same name inside envoy_grpc.
    """
    attempt = HeaderValue(
        key="x-envoy-upstream-rq-per-try-timeout-ms", value=str(round(ATTEMPT_SECONDS * 1000))
    )
    return GrpcService(
        initial_metadata=[attempt],
        envoy_grpc=GrpcService.EnvoyGrpc(cluster_name=names.CLUSTER_GUARD),
        timeout=duration(timeout) if timeout is not None else None,
        retry_policy=RetryPolicy(
            retry_on="connect-failure,refused-stream,unavailable,cancelled,reset,resource-exhausted",
            num_retries=UInt32Value(value=5),
            retry_host_predicate=[
                RetryPolicy.RetryHostPredicate(
                    name="envoy.retry_host_predicates.previous_hosts",
                    typed_config=packed(PreviousHostsPredicate()),
                )
            ],
            host_selection_retry_max_attempts=PICKS,
            retry_back_off=BackoffStrategy(base_interval=duration(0.001), max_interval=duration(0.1)),
        ),
    )


def agent_service(cluster: str) -> GrpcService:
    """One of the agent's sockets; reconnects fast, because the agent is a local process that comes back."""
    return GrpcService(
        envoy_grpc=GrpcService.EnvoyGrpc(
            cluster_name=cluster,
            retry_policy=RetryPolicy(
                retry_back_off=BackoffStrategy(base_interval=duration(0.01), max_interval=duration(0.1))
            ),
        )
    )
