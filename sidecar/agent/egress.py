"""Envoy's way out of a pod: TLS connections of other containers, admitted by the name that they ask for. Pure.

Redirect rules (sidecar/capture) lead them here. The name in the ClientHello chooses the filter chain; Envoy resolves it
itself, so the address that the program chose counts for nothing. What names nothing listed finds no chain: closed.
https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/listeners/network_filters/sni_dynamic_forward_proxy_filter
"""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from bartizan.xds.resources import packed
from protos.gen.envoy.config.cluster.v3.cluster_pb2 import Cluster
from protos.gen.envoy.config.core.v3.address_pb2 import Address, SocketAddress
from protos.gen.envoy.config.core.v3.base_pb2 import TrafficDirection
from protos.gen.envoy.config.listener.v3.listener_components_pb2 import (
    Filter,
    FilterChain,
    FilterChainMatch,
    ListenerFilter,
)
from protos.gen.envoy.config.listener.v3.listener_pb2 import Listener
from protos.gen.envoy.extensions.clusters.dynamic_forward_proxy.v3.cluster_pb2 import ClusterConfig
from protos.gen.envoy.extensions.common.dynamic_forward_proxy.v3.dns_cache_pb2 import DnsCacheConfig
from protos.gen.envoy.extensions.filters.listener.tls_inspector.v3.tls_inspector_pb2 import TlsInspector
from protos.gen.envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3 import (
    sni_dynamic_forward_proxy_pb2 as sni,
)
from protos.gen.envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy

PORT = 15001
UPSTREAM_PORT = 443
NAME = "egress"
MOST_NAMES_KEPT = 1024
HELLO_SECONDS = 5


def egress_listener(names: tuple[str, ...], port: int = PORT, upstream_port: int = UPSTREAM_PORT) -> Listener:
    """On loopback only. Who sends no ClientHello in time is closed."""
    forward = sni.FilterConfig(dns_cache_config=_cache(), port_value=upstream_port)
    chain = FilterChain(
        name=NAME,
        filter_chain_match=FilterChainMatch(server_names=names, transport_protocol="tls"),
        filters=[
            Filter(name="envoy.filters.network.sni_dynamic_forward_proxy", typed_config=packed(forward)),
            Filter(
                name="envoy.filters.network.tcp_proxy",
                typed_config=packed(TcpProxy(stat_prefix=NAME, cluster=NAME)),
            ),
        ],
    )
    return Listener(
        name=NAME,
        stat_prefix=NAME,
        traffic_direction=TrafficDirection.OUTBOUND,
        address=Address(socket_address=SocketAddress(address="127.0.0.1", port_value=port)),
        listener_filters=[
            ListenerFilter(name="envoy.filters.listener.tls_inspector", typed_config=packed(TlsInspector()))
        ],
        listener_filters_timeout=Duration(seconds=HELLO_SECONDS),
        filter_chains=[chain],
        enable_reuse_port=BoolValue(value=False),
    )


def egress_cluster() -> Cluster:
    """Connects to whatever the listener let through."""
    return Cluster(
        name=NAME,
        connect_timeout=Duration(seconds=5),
        lb_policy=Cluster.CLUSTER_PROVIDED,
        cluster_type=Cluster.CustomClusterType(
            name="envoy.clusters.dynamic_forward_proxy",
            typed_config=packed(ClusterConfig(dns_cache_config=_cache())),
        ),
    )


def _cache() -> DnsCacheConfig:
    """The same in filter and cluster: that is how they find each other."""
    return DnsCacheConfig(
        name=NAME, dns_lookup_family=Cluster.V4_PREFERRED, max_hosts=UInt32Value(value=MOST_NAMES_KEPT)
    )
