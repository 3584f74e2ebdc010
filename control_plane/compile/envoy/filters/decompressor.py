"""decompressor: gzip requests are inflated before the guard reads them, so that guard and model see the same bytes.

Other encodings are refused by the guard in ext_authz, which runs before and reads `content-encoding`; without a
content hop the routes refuse every encoding.
"""

from __future__ import annotations

from google.protobuf.wrappers_pb2 import UInt32Value

from control_plane.compile.envoy.filters.limits import MAX_INFLATE_RATIO
from control_plane.compile.envoy.values import FALSE, extension, http_filter
from control_plane.compile.resolve import Resolved
from protos.gen.envoy.config.core.v3.base_pb2 import RuntimeFeatureFlag
from protos.gen.envoy.extensions.compression.gzip.decompressor.v3.gzip_pb2 import Gzip
from protos.gen.envoy.extensions.filters.http.decompressor.v3.decompressor_pb2 import Decompressor
from protos.gen.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpFilter,
)

NAME = "envoy.filters.http.decompressor"


def build(resolved: Resolved) -> HttpFilter | None:
    """For requests only: compressed answers are not asked for and not accepted where checked.

    Envoy passes on what it inflated before an error (broken data, a ratio above the limit): the guard sees a truncated
    body and refuses it as malformed. That is why the filter stands only before a guard that reads bodies.
    """
    if not resolved.content_hop:
        return None
    common = Decompressor.CommonDirectionConfig
    return http_filter(
        NAME,
        Decompressor(
            decompressor_library=extension(
                "gzip", Gzip(max_inflate_ratio=UInt32Value(value=MAX_INFLATE_RATIO))
            ),
            request_direction_config=Decompressor.RequestDirectionConfig(
                # cache-control: no-transform would bring the guard a body that it can't read
                common_config=common(ignore_no_transform_header=True),
                advertise_accept_encoding=FALSE,
            ),
            response_direction_config=Decompressor.ResponseDirectionConfig(
                common_config=common(
                    enabled=RuntimeFeatureFlag(default_value=FALSE, runtime_key="bartizan.decompress_answers")
                )
            ),
        ),
    )
