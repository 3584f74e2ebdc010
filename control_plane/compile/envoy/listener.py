"""The listener (LDS): address, TLS and the filter chain. It changes as rarely as possible.

A changed filter chain cuts running streams at the end of the drain time, so whatever may change often (limits,
sampling, paths, the plan's id) is in the routes.
"""

from __future__ import annotations

from google.protobuf.wrappers_pb2 import UInt32Value

from bartizan.policy import names
from bartizan.policy.bundle import TlsSource
from bartizan.xds.resources import packed
from control_plane.compile.envoy.connection_manager import connection_manager
from control_plane.compile.envoy.filters.limits import CONNECTION_BUFFER
from control_plane.compile.envoy.secret import from_agent
from control_plane.compile.envoy.values import FALSE
from control_plane.compile.resolve import Resolved
from protos.gen.envoy.config.core.v3.address_pb2 import Address, SocketAddress
from protos.gen.envoy.config.core.v3.base_pb2 import TrafficDirection, TransportSocket
from protos.gen.envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain
from protos.gen.envoy.config.listener.v3.listener_pb2 import Listener
from protos.gen.envoy.extensions.transport_sockets.tls.v3.common_pb2 import TlsParameters
from protos.gen.envoy.extensions.transport_sockets.tls.v3.tls_pb2 import (
    CommonTlsContext,
    DownstreamTlsContext,
)


def listener(resolved: Resolved) -> Listener:
    """The only way in."""
    where = resolved.spec.listener
    chain = FilterChain(
        name=names.LISTENER,
        filters=[
            Filter(
                name="envoy.filters.network.http_connection_manager",
                typed_config=packed(connection_manager(resolved)),
            )
        ],
        transport_socket=_tls(resolved.tls) if resolved.tls else None,
    )
    return Listener(
        name=names.LISTENER,
        stat_prefix=names.LISTENER,
        traffic_direction=TrafficDirection.INBOUND,
        address=Address(socket_address=SocketAddress(address=where.address, port_value=where.port)),
        filter_chains=[chain],
        # With reuse_port a second process on the port would take half of the connections without a word.
        enable_reuse_port=FALSE,
        per_connection_buffer_limit_bytes=UInt32Value(value=CONNECTION_BUFFER),
    )


def _tls(source: TlsSource) -> TransportSocket:
    context = DownstreamTlsContext(
        common_tls_context=CommonTlsContext(
            tls_params=TlsParameters(tls_minimum_protocol_version=TlsParameters.TLSv1_2),
            tls_certificate_sds_secret_configs=[from_agent(source.name)],
            alpn_protocols=["h2", "http/1.1"],
        ),
        require_client_certificate=FALSE,
        disable_stateful_session_resumption=True,
    )
    return TransportSocket(name="envoy.transport_sockets.tls", typed_config=packed(context))
