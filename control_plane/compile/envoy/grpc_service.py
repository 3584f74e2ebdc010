"""How Envoy calls the guard and the agent over their unix sockets: deadlines and retries of gRPC calls."""

from __future__ import annotations

from typing import Final

from bartizan.policy import names
from control_plane.compile.envoy.values import duration
from protos.gen.envoy.config.core.v3.backoff_pb2 import BackoffStrategy
from protos.gen.envoy.config.core.v3.base_pb2 import HeaderValue, RetryPolicy
from protos.gen.envoy.config.core.v3.grpc_service_pb2 import GrpcService

ATTEMPT_SECONDS: Final = 1.0
"""A worker that has not answered a call for so long hangs. Much shorter, and a burst that only has to queue would be
asked for again and again, until the worker does nothing else; the supervisor kills a hung worker anyway."""
_ATTEMPT: Final = HeaderValue(
    key="x-envoy-upstream-rq-per-try-timeout-ms", value=str(round(ATTEMPT_SECONDS * 1000))
)
"""Envoy 1.40 takes a cluster's retry policy for the calls of its filters, but not how long an attempt may take."""
# the guard reads no x-envoy-internal and x-forwarded-for of the call itself
_GUARD: Final = GrpcService.EnvoyGrpc(cluster_name=names.CLUSTER_GUARD, skip_envoy_headers=True)


def guard_call(timeout: float) -> GrpcService:
    """A guard worker, for one answer; another one is asked when it hangs. `timeout` in seconds bounds all attempts
    together; what is retried, and where, the agent says in the cluster, as it knows how many workers there are
    (sidecar/agent/guard_cluster.py).
    """
    return GrpcService(initial_metadata=[_ATTEMPT], envoy_grpc=_GUARD, timeout=duration(timeout))


def guard_stream() -> GrpcService:
    """A guard worker, for as long as an exchange takes. What bounds it is each message's own time."""
    return GrpcService(envoy_grpc=_GUARD)


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
