"""Secrets by SDS from the agent: the listener's certificate and the provider credential."""

from __future__ import annotations

from bartizan.policy import names
from control_plane.compile.envoy.grpc_service import agent_service
from control_plane.compile.envoy.values import duration
from protos.gen.envoy.config.core.v3.config_source_pb2 import ApiConfigSource, ApiVersion, ConfigSource
from protos.gen.envoy.extensions.transport_sockets.tls.v3.secret_pb2 import SdsSecretConfig


def from_agent(name: str) -> SdsSecretConfig:
    """A secret on a stream of its own. Without a fetch limit: a listener never opens before its secret is there."""
    return SdsSecretConfig(
        name=name,
        sds_config=ConfigSource(
            resource_api_version=ApiVersion.V3,
            initial_fetch_timeout=duration(0),
            api_config_source=ApiConfigSource(
                api_type=ApiConfigSource.GRPC,
                transport_api_version=ApiVersion.V3,
                grpc_services=[agent_service(names.CLUSTER_XDS)],
            ),
        ),
    )
