"""The HTTP connection manager: everything that holds for a connection and its requests before the filters."""

from __future__ import annotations

from google.protobuf.wrappers_pb2 import UInt32Value

from bartizan.policy import names
from control_plane.compile.envoy.access_log import access_log
from control_plane.compile.envoy.edge import strip_headers
from control_plane.compile.envoy.filters.catalog import in_use
from control_plane.compile.envoy.local_reply import local_reply
from control_plane.compile.envoy.route import IDLE_SECONDS
from control_plane.compile.envoy.tracing import tracing
from control_plane.compile.envoy.values import FALSE, TRUE, duration
from control_plane.compile.resolve import Resolved
from protos.gen.envoy.config.core.v3.config_source_pb2 import AggregatedConfigSource, ApiVersion, ConfigSource
from protos.gen.envoy.config.core.v3.protocol_pb2 import Http2ProtocolOptions, HttpProtocolOptions
from protos.gen.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
    Rds,
)

MAX_HEADERS = 100
MAX_HEADERS_KB = 60
HEADERS_SECONDS = 10.0
REQUEST_SECONDS = 60.0
IDLE_CONNECTION_SECONDS = 300.0


def connection_manager(resolved: Resolved) -> HttpConnectionManager:
    """The edge is hostile: nothing that a client says about itself is believed. No upgrade_configs: none is served."""
    return HttpConnectionManager(
        stat_prefix=names.LISTENER,
        codec_type=HttpConnectionManager.AUTO,
        rds=Rds(
            route_config_name=names.ROUTES,
            config_source=ConfigSource(
                ads=AggregatedConfigSource(),
                resource_api_version=ApiVersion.V3,
                initial_fetch_timeout=duration(0),
            ),
        ),
        http_filters=[config for _, config in in_use(resolved)],
        access_log=[access_log(resolved)],
        tracing=tracing(resolved),
        local_reply_config=local_reply(resolved.spec.model.protocol),
        # who the client is
        use_remote_address=TRUE,
        xff_num_trusted_hops=0,
        forward_client_cert_details=HttpConnectionManager.SANITIZE,
        generate_request_id=TRUE,
        preserve_external_request_id=False,
        early_header_mutation_extensions=[strip_headers()],
        # which path is meant
        normalize_path=TRUE,
        merge_slashes=True,
        path_with_escaped_slashes_action=HttpConnectionManager.REJECT_REQUEST,
        # how much and how long
        max_request_headers_kb=UInt32Value(value=MAX_HEADERS_KB),
        request_headers_timeout=duration(HEADERS_SECONDS),
        request_timeout=duration(REQUEST_SECONDS),
        # Also the only bound on a guard that goes silent in a streamed answer.
        stream_idle_timeout=duration(IDLE_SECONDS),
        common_http_protocol_options=HttpProtocolOptions(
            idle_timeout=duration(IDLE_CONNECTION_SECONDS),
            max_headers_count=UInt32Value(value=MAX_HEADERS),
            headers_with_underscores_action=HttpProtocolOptions.REJECT_REQUEST,
        ),
        http2_protocol_options=Http2ProtocolOptions(
            max_concurrent_streams=UInt32Value(value=128),
            initial_stream_window_size=UInt32Value(value=64 * 1024),
            initial_connection_window_size=UInt32Value(value=1024 * 1024),
            allow_connect=False,
        ),
        # what the client learns
        server_name="bartizan",
        server_header_transformation=HttpConnectionManager.OVERWRITE,
        proxy_100_continue=False,
        strip_matching_host_port=False,
        add_user_agent=FALSE,
    )
