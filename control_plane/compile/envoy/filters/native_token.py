"""native_token: says of a verified token whether the guard would let it in, in metadata that no client can write.

An RBAC filter with shadow rules only: it refuses nothing. ext_authz asks the guard unless the answer is "allowed", so
a missing or broken rule, unknown keys and every token that is not plainly good end at the guard.
"""

from __future__ import annotations

from bartizan.policy import names
from control_plane.compile.envoy.cel import syntax_tree
from control_plane.compile.envoy.values import http_filter
from control_plane.compile.native import token_rule
from control_plane.compile.resolve import Resolved
from protos.gen.envoy.config.rbac.v3.rbac_pb2 import RBAC, Permission, Policy, Principal
from protos.gen.envoy.config.route.v3.route_components_pb2 import HeaderMatcher
from protos.gen.envoy.extensions.filters.http.rbac.v3 import rbac_pb2
from protos.gen.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpFilter,
)
from protos.gen.envoy.type.matcher.v3.metadata_pb2 import MetadataMatcher
from protos.gen.envoy.type.matcher.v3.regex_pb2 import RegexMatcher
from protos.gen.envoy.type.matcher.v3.string_pb2 import StringMatcher
from protos.gen.envoy.type.matcher.v3.value_pb2 import ValueMatcher

NAME = "bartizan.native_token"

_ONE_TOKEN = r"Bearer [A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+"
"""Repeated headers are joined by a comma, which is none of these."""


def build(resolved: Resolved) -> HttpFilter | None:
    """No rules here: they are on the routes, so that they switch with the revision, and without them all is asked."""
    return http_filter(NAME, rbac_pb2.RBAC()) if resolved.native_tokens else None


def per_route(resolved: Resolved) -> rbac_pb2.RBACPerRoute:
    """The rule of this revision."""
    policy = Policy(
        permissions=[
            Permission(
                and_rules=Permission.Set(
                    rules=[
                        Permission(not_rule=Permission(header=_present("x-api-key"))),
                        Permission(header=_one_token()),
                    ]
                )
            )
        ],
        principals=[Principal(any=True)],
        condition=syntax_tree(token_rule(resolved.spec)),
    )
    return rbac_pb2.RBACPerRoute(
        rbac=rbac_pb2.RBAC(
            shadow_rules=RBAC(action=RBAC.ALLOW, policies={"token": policy}),
            shadow_rules_stat_prefix=names.TOKEN_PREFIX,
        )
    )


def verdict(*, invert: bool = False) -> MetadataMatcher:
    """Matches requests that Envoy let in by itself; inverted: all others, those without any verdict too."""
    return MetadataMatcher(
        filter=names.TOKEN_METADATA,
        path=[MetadataMatcher.PathSegment(key=names.TOKEN_RESULT)],
        value=ValueMatcher(string_match=StringMatcher(exact=names.TOKEN_ALLOWED)),
        invert=invert,
    )


def _present(name: str) -> HeaderMatcher:
    return HeaderMatcher(name=name, present_match=True)


def _one_token() -> HeaderMatcher:
    matcher = StringMatcher(safe_regex=RegexMatcher(regex=_ONE_TOKEN))
    return HeaderMatcher(name="authorization", string_match=matcher)
