"""Envoy resources in both of their forms: protobuf messages and the JSON that travels inside a signed bundle.

The compiler writes the JSON form, the agent turns it back into what Envoy is sent. Every message type that a compiled
resource may hold is imported here, because an Any can only be read when its type is known.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from google.protobuf import any_pb2, json_format, symbol_database
from google.protobuf.message import Message

from bartizan.errors import ResourceRejected
from bartizan.policy.canonical import canonical
from bartizan.policy.names import TYPE_ROUTES
from protos.gen.envoy.config.cluster.v3 import cluster_pb2
from protos.gen.envoy.config.core.v3 import extension_pb2
from protos.gen.envoy.config.listener.v3 import listener_pb2
from protos.gen.envoy.config.route.v3 import route_components_pb2, route_pb2
from protos.gen.envoy.config.trace.v3 import opentelemetry_pb2
from protos.gen.envoy.extensions.access_loggers.filters.cel.v3 import cel_pb2
from protos.gen.envoy.extensions.access_loggers.grpc.v3 import als_pb2
from protos.gen.envoy.extensions.compression.gzip.decompressor.v3 import gzip_pb2
from protos.gen.envoy.extensions.filters.http.buffer.v3 import buffer_pb2
from protos.gen.envoy.extensions.filters.http.credential_injector.v3 import credential_injector_pb2
from protos.gen.envoy.extensions.filters.http.custom_response.v3 import custom_response_pb2
from protos.gen.envoy.extensions.filters.http.decompressor.v3 import decompressor_pb2
from protos.gen.envoy.extensions.filters.http.ext_authz.v3 import ext_authz_pb2
from protos.gen.envoy.extensions.filters.http.ext_proc.v3 import ext_proc_pb2
from protos.gen.envoy.extensions.filters.http.header_mutation.v3 import header_mutation_pb2 as http_mutation
from protos.gen.envoy.extensions.filters.http.jwt_authn.v3 import config_pb2 as jwt_authn_pb2
from protos.gen.envoy.extensions.filters.http.rbac.v3 import rbac_pb2
from protos.gen.envoy.extensions.filters.http.router.v3 import router_pb2
from protos.gen.envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from protos.gen.envoy.extensions.http.custom_response.local_response_policy.v3 import (
    local_response_policy_pb2,
)
from protos.gen.envoy.extensions.http.early_header_mutation.header_mutation.v3 import header_mutation_pb2
from protos.gen.envoy.extensions.http.injected_credentials.generic.v3 import generic_pb2
from protos.gen.envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2
from protos.gen.envoy.extensions.transport_sockets.tls.v3 import tls_pb2
from protos.gen.envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from protos.gen.envoy.type.matcher.v3 import http_inputs_pb2, status_code_input_pb2

READABLE = (
    als_pb2.HttpGrpcAccessLogConfig,
    buffer_pb2.BufferPerRoute,
    cel_pb2.ExpressionFilter,
    cluster_pb2.Cluster,
    credential_injector_pb2.CredentialInjector,
    custom_response_pb2.CustomResponse,
    decompressor_pb2.Decompressor,
    ext_authz_pb2.ExtAuthz,
    ext_proc_pb2.ExternalProcessor,
    generic_pb2.Generic,
    gzip_pb2.Gzip,
    header_mutation_pb2.HeaderMutation,
    http_mutation.HeaderMutation,
    jwt_authn_pb2.JwtAuthentication,
    extension_pb2.TypedExtensionConfig,
    http_connection_manager_pb2.HttpConnectionManager,
    http_inputs_pb2.HttpResponseHeaderMatchInput,
    http_protocol_options_pb2.HttpProtocolOptions,
    listener_pb2.Listener,
    local_response_policy_pb2.LocalResponsePolicy,
    opentelemetry_pb2.OpenTelemetryConfig,
    previous_hosts_pb2.PreviousHostsPredicate,
    rbac_pb2.RBAC,
    route_components_pb2.VirtualHost,
    route_pb2.RouteConfiguration,
    router_pb2.Router,
    status_code_input_pb2.HttpResponseStatusCodeClassMatchInput,
    tls_pb2.DownstreamTlsContext,
)
"""Types that an agent of this release can read in a bundle (and those declared beside them)."""
_ROUTE = "type.googleapis.com/envoy.config.route.v3.Route"


def packed(message: Message) -> any_pb2.Any:
    """The message in an Any, serialized deterministically: the same resource always makes the same bytes."""
    result = any_pb2.Any()
    result.Pack(message, deterministic=True)
    return result


def to_json(message: Message) -> dict[str, Any]:
    """The message in protobuf's JSON form with its "@type" and proto field names."""
    item = packed(message)
    document: dict[str, Any] = msgspec.json.decode(_json_of(item.type_url, item.value))
    return document


# Of one publication to the next most resources stay what they were, and both directions take milliseconds for each. Of
# routes those that name the plan change each time and the others never, so that each is made and kept by itself.
@functools.lru_cache(maxsize=256)
def _json_of(type_url: str, value: bytes) -> bytes:
    item = any_pb2.Any(type_url=type_url, value=value)
    taken = _without_routes(item) if type_url == TYPE_ROUTES else []
    document = json_format.MessageToDict(item, preserving_proto_field_name=True)
    for host, routes in zip(document.get("virtual_hosts", ()), taken, strict=True):
        host["routes"] = [
            {name: given for name, given in to_json(route).items() if name != "@type"} for route in routes
        ]
    return msgspec.json.encode(document)


def _without_routes(item: any_pb2.Any) -> list[list[route_components_pb2.Route]]:
    """Takes the routes of each virtual host out of packed routes."""
    configuration = route_pb2.RouteConfiguration.FromString(item.value)
    taken = [list(host.routes) for host in configuration.virtual_hosts]
    for host in configuration.virtual_hosts:
        host.ClearField("routes")
    item.value = configuration.SerializeToString(deterministic=True)
    return taken


def from_json(document: Mapping[str, Any]) -> any_pb2.Any:
    """The inverse of `to_json`; not to be changed. Raises ResourceRejected when a type or field is unknown here."""
    return _read(canonical(document))


@functools.lru_cache(maxsize=64)
def _read(text: bytes) -> any_pb2.Any:
    document, result = msgspec.json.decode(text), any_pb2.Any()
    routes: list[Any] = []
    try:
        if document.get("@type") == TYPE_ROUTES:
            routes = [host.pop("routes", None) or [] for host in document.get("virtual_hosts", ())]
        json_format.ParseDict(document, result)
        if not result.type_url:
            raise ResourceRejected('Envoy resource without "@type"')
        _settle(result)
        if routes:
            _put_routes(result, routes)
    except (json_format.Error, TypeError, AttributeError) as error:
        kind = str(document.get("@type", "unknown type")).rpartition("/")[2]
        raise ResourceRejected(
            f"Envoy resource of type {kind} can't be read: {type(error).__name__}"
        ) from error
    return result


def _put_routes(item: any_pb2.Any, routes: Iterable[Iterable[Mapping[str, Any]]]) -> None:
    configuration = route_pb2.RouteConfiguration.FromString(item.value)
    for host, its in zip(configuration.virtual_hosts, routes, strict=True):
        for route in its:
            host.routes.add().MergeFromString(from_json({**route, "@type": _ROUTE}).value)
    item.value = configuration.SerializeToString(deterministic=True)


def _settle(message: Message) -> None:
    """Serialize every Any inside anew with its maps in order; json_format writes them in arbitrary order.

    Else a restarted agent would serve other bytes, Envoy would take them for a change and cut running streams.
    """
    if isinstance(message, any_pb2.Any):
        inner = symbol_database.Default().GetSymbol(message.TypeName())()
        inner.ParseFromString(message.value)
        _settle(inner)
        message.value = inner.SerializeToString(deterministic=True)
        return
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if not field.is_repeated:
            _settle(value)
        elif not field.message_type.GetOptions().map_entry:
            for item in value:
                _settle(item)
        elif field.message_type.fields_by_name["value"].message_type is not None:
            for item in value.values():
                _settle(item)
