"""rbac: the first filter. Probes only from loopback; no CONNECT and no upgrades, whose frames nobody could check."""

from __future__ import annotations

from google.protobuf.wrappers_pb2 import UInt32Value

from bartizan.policy import names
from control_plane.compile.envoy.values import http_filter
from control_plane.compile.resolve import Resolved
from protos.gen.envoy.config.core.v3.address_pb2 import CidrRange
from protos.gen.envoy.config.rbac.v3.rbac_pb2 import RBAC, Permission, Policy, Principal
from protos.gen.envoy.config.route.v3.route_components_pb2 import HeaderMatcher
from protos.gen.envoy.extensions.filters.http.rbac.v3 import rbac_pb2
from protos.gen.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpFilter,
)
from protos.gen.envoy.type.matcher.v3.string_pb2 import StringMatcher

NAME = "envoy.filters.http.rbac"


def build(resolved: Resolved) -> HttpFilter | None:  # noqa: ARG001 - every filter has this signature
    """Always there."""
    policies = {
        "probe": Policy(
            permissions=[_header_present(names.HEADER_PROBE)],
            principals=[
                Principal(
                    not_id=Principal(
                        or_ids=Principal.Set(
                            ids=[_connected_from("127.0.0.0", 8), _connected_from("::1", 128)]
                        )
                    )
                )
            ],
        ),
        "tunnel": Policy(
            permissions=[
                # An `upgrade: h2c` never gets here: Envoy's HTTP/1 codec takes it and HTTP2-Settings away as the request
                # is read, so that it stays an ordinary, checked request and the model sees nothing of an upgrade.
                _header_present("upgrade"),
                Permission(header=HeaderMatcher(name=":method", string_match=StringMatcher(exact="CONNECT"))),
            ],
            principals=[Principal(any=True)],
        ),
        # Envoy joins repeated Host headers; nobody can say which of them the model would believe.
        "hosts": Policy(
            permissions=[
                Permission(header=HeaderMatcher(name=":authority", string_match=StringMatcher(contains=",")))
            ],
            principals=[Principal(any=True)],
        ),
    }
    return http_filter(NAME, rbac_pb2.RBAC(rules=RBAC(action=RBAC.DENY, policies=policies)))


def _header_present(name: str) -> Permission:
    return Permission(header=HeaderMatcher(name=name, present_match=True))


def _connected_from(prefix: str, length: int) -> Principal:
    # The connection's own peer: no header can change it.
    return Principal(direct_remote_ip=CidrRange(address_prefix=prefix, prefix_len=UInt32Value(value=length)))
