"""decompressor: gzip requests are inflated before anybody reads them, so that guard and model see the same bytes.

Other encodings are refused by the guard in ext_authz, which runs before and reads `content-encoding`.
"""

from __future__ import annotations

from google.protobuf.wrappers_pb2 import UInt32Value

from control_plane.compile.envoy.values import FALSE, extension, http_filter
from control_plane.compile.resolve import Resolved
from protos.gen.envoy.config.core.v3.base_pb2 import RuntimeFeatureFlag
from protos.gen.envoy.extensions.compression.gzip.decompressor.v3.gzip_pb2 import Gzip
from protos.gen.envoy.extensions.filters.http.decompressor.v3.decompressor_pb2 import Decompressor
from protos.gen.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpFilter,
)

NAME = "envoy.filters.http.decompressor"
MAX_INFLATE_RATIO = 100
"""A bomb inflates about 1000-fold, repetitive JSON rarely more than 50-fold."""


def build(resolved: Resolved) -> HttpFilter | None:  # noqa: ARG001 - every filter has this signature
    """Always there, for requests only: compressed answers are not asked for and not accepted where checked."""
    common = Decompressor.CommonDirectionConfig
    return http_filter(
        NAME,
        Decompressor(
            decompressor_library=extension(
                "gzip", Gzip(max_inflate_ratio=UInt32Value(value=MAX_INFLATE_RATIO))
            ),
            request_direction_config=Decompressor.RequestDirectionConfig(advertise_accept_encoding=FALSE),
            response_direction_config=Decompressor.ResponseDirectionConfig(
                common_config=common(
                    enabled=RuntimeFeatureFlag(default_value=FALSE, runtime_key="bartizan.decompress_answers")
                )
            ),
        ),
    )
