"""How Envoy calls the guard and the agent over their unix sockets: deadlines and retries of gRPC calls."""

from __future__ import annotations

from typing import Final

from bartizan.policy import names
from control_plane.compile.envoy.values import duration
from protos.gen.envoy.config.core.v3.backoff_pb2 import BackoffStrategy
from protos.gen.envoy.config.core.v3.base_pb2 import RetryPolicy
from protos.gen.envoy.config.core.v3.grpc_service_pb2 import GrpcService

# the guard reads no x-envoy-internal and x-forwarded-for of the call itself
_GUARD: Final = GrpcService.EnvoyGrpc(cluster_name=names.CLUSTER_GUARD, skip_envoy_headers=True)


def guard_call(timeout: float) -> GrpcService:
    """A guard worker, for one answer; another one is asked when it hangs. `timeout` in seconds bounds all attempts
    together. What is retried, and where, the agent says, as it knows how many workers there are
    (sidecar/agent/guard_cluster.py), and how long an attempt may take (sidecar/agent/attempts.py). Envoy compares this
    message with itself for every request: each field more costs.
    """
    return GrpcService(envoy_grpc=_GUARD, timeout=duration(timeout))


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
