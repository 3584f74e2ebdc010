"""Small protobuf values: durations, wrappers, typed extensions."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import BoolValue

from bartizan.xds.resources import packed
from protos.gen.envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from protos.gen.envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from protos.gen.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpFilter,
)

TRUE = BoolValue(value=True)
FALSE = BoolValue(value=False)


def duration(seconds: float) -> Duration:
    whole = int(seconds)
    return Duration(seconds=whole, nanos=round((seconds - whole) * 1_000_000_000))


def extension(name: str, config: Message) -> TypedExtensionConfig:
    return TypedExtensionConfig(name=name, typed_config=packed(config))


def http_filter(name: str, config: Message) -> HttpFilter:
    return HttpFilter(name=name, typed_config=packed(config))


def header(name: str, value: str) -> HeaderValueOption:
    """Sets a header, replacing any that is there."""
    return HeaderValueOption(
        header=HeaderValue(key=name, value=value),
        append_action=HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )
