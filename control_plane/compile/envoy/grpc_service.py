"""How Envoy calls the guard and the agent over their unix sockets: deadlines and retries of gRPC calls."""

from __future__ import annotations

from bartizan.policy import names
from control_plane.compile.envoy.values import duration
from protos.gen.envoy.config.core.v3.backoff_pb2 import BackoffStrategy
from protos.gen.envoy.config.core.v3.base_pb2 import RetryPolicy
from protos.gen.envoy.config.core.v3.grpc_service_pb2 import GrpcService


def guard_service(timeout: float | None = None) -> GrpcService:
    """A guard worker. `timeout` in seconds bounds all attempts together; what is retried, and where, the agent says in
    the cluster, as it knows how many workers there are (sidecar/agent/guard_cluster.py).
    """
    return GrpcService(
        envoy_grpc=GrpcService.EnvoyGrpc(cluster_name=names.CLUSTER_GUARD),
        timeout=duration(timeout) if timeout is not None else None,
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
