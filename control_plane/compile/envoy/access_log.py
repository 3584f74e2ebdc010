"""Native verdicts: what Envoy refused by itself reaches audit through the agent's access-log service."""

from __future__ import annotations

from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from bartizan.policy import names
from bartizan.xds.resources import packed
from control_plane.compile.envoy.filters import native_token
from control_plane.compile.envoy.grpc_service import agent_service
from control_plane.compile.envoy.values import duration
from control_plane.compile.resolve import Resolved
from protos.gen.envoy.config.accesslog.v3.accesslog_pb2 import (
    AccessLog,
    AccessLogFilter,
    ComparisonFilter,
    MetadataFilter,
    OrFilter,
    ResponseFlagFilter,
    StatusCodeFilter,
)
from protos.gen.envoy.config.core.v3.base_pb2 import RuntimeUInt32
from protos.gen.envoy.config.core.v3.config_source_pb2 import ApiVersion
from protos.gen.envoy.extensions.access_loggers.grpc.v3.als_pb2 import (
    CommonGrpcAccessLogConfig,
    HttpGrpcAccessLogConfig,
)
from protos.gen.envoy.type.matcher.v3.metadata_pb2 import MetadataMatcher
from protos.gen.envoy.type.matcher.v3.value_pb2 import ValueMatcher
from protos.gen.envoy.type.metadata.v3.metadata_pb2 import MetadataKey, MetadataKind
from protos.gen.envoy.type.tracing.v3.custom_tag_pb2 import CustomTag

LOG_NAME = "bartizan"


def access_log(resolved: Resolved) -> AccessLog:
    """Refusals, broken streams; requests of which the guard said that they are traced, where Envoy has no tracer; and
    where Envoy lets tokens in by itself, those: no guard records them.

    An entry carries the response code, its details, the stream id, the route's name, the dynamic metadata of
    ext_authz, and as tags the plan id, the trace id of Envoy's own tracer, and how long the guard was waited for.
    """
    config = HttpGrpcAccessLogConfig(
        common_config=CommonGrpcAccessLogConfig(
            log_name=LOG_NAME,
            grpc_service=agent_service(names.CLUSTER_ALS),
            transport_api_version=ApiVersion.V3,
            buffer_flush_interval=duration(0.2),
            buffer_size_bytes=UInt32Value(value=65536),
            custom_tags=[
                CustomTag(
                    tag=names.REVISION,
                    metadata=CustomTag.Metadata(
                        kind=MetadataKind(route=MetadataKind.Route()),
                        metadata_key=MetadataKey(
                            key=names.ROUTE_METADATA, path=[MetadataKey.PathSegment(key=names.REVISION)]
                        ),
                    ),
                ),
                CustomTag(tag=names.TAG_TRACE, value="%TRACE_ID%"),
                CustomTag(
                    tag=names.TAG_WAIT, value=f"%FILTER_STATE({names.AUTHZ_METADATA}:FIELD:latency_us)%"
                ),
            ],
        ),
        additional_response_headers_to_log=[names.HEADER_DECISION],
    )
    refused = AccessLogFilter(
        status_code_filter=StatusCodeFilter(
            comparison=ComparisonFilter(
                op=ComparisonFilter.GE,
                value=RuntimeUInt32(default_value=400, runtime_key="bartizan.access_log.min_status"),
            )
        )
    )
    flagged = AccessLogFilter(response_flag_filter=ResponseFlagFilter())
    wanted = [refused, flagged]
    if not resolved.envoy_traces:
        wanted.append(AccessLogFilter(metadata_filter=_traced()))
    if resolved.native_tokens:
        admitted = MetadataFilter(
            matcher=native_token.verdict(), match_if_key_not_found=BoolValue(value=False)
        )
        wanted.append(AccessLogFilter(metadata_filter=admitted))
    return AccessLog(
        name="envoy.access_loggers.http_grpc",
        filter=AccessLogFilter(or_filter=OrFilter(filters=wanted)),
        typed_config=packed(config),
    )


def _traced() -> MetadataFilter:
    """In the listener whatever the share is, so that another share changes routes only."""
    said = MetadataMatcher(
        filter=names.AUTHZ_METADATA,
        path=[MetadataMatcher.PathSegment(key=names.TRACED)],
        value=ValueMatcher(bool_match=True),
    )
    return MetadataFilter(matcher=said, match_if_key_not_found=BoolValue(value=False))
