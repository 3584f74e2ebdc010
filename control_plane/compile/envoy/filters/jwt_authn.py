"""jwt_authn: Envoy verifies tokens that it may let in by itself; it refuses none. native_token.py judges what it found.

The configuration travels by ECDS, because the issuers' keys are in it: the agent fills them in after it has verified
the bundle, and a refreshed key changes no listener.
"""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty

from bartizan.xds.resources import packed
from control_plane.compile.envoy.values import duration
from control_plane.compile.native import LEEWAY_SECONDS, issuers
from control_plane.compile.resolve import Resolved
from protos.gen.envoy.config.core.v3.config_source_pb2 import (
    AggregatedConfigSource,
    ApiVersion,
    ConfigSource,
    ExtensionConfigSource,
)
from protos.gen.envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from protos.gen.envoy.config.route.v3.route_components_pb2 import RouteMatch
from protos.gen.envoy.extensions.filters.http.jwt_authn.v3.config_pb2 import (
    JwtAuthentication,
    JwtCacheConfig,
    JwtHeader,
    JwtProvider,
    JwtRequirement,
    JwtRequirementOrList,
    RequirementRule,
)
from protos.gen.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpFilter,
)

NAME = "envoy.filters.http.jwt_authn"
KEPT_TOKENS = 1000
"""Verified tokens of one issuer that Envoy remembers; new keys make it forget them."""


def build(resolved: Resolved) -> HttpFilter | None:
    """The place in the chain. Without a fetch limit: no listener opens before its filter is configured."""
    if not resolved.native_tokens:
        return None
    return HttpFilter(
        name=NAME,
        config_discovery=ExtensionConfigSource(
            config_source=ConfigSource(
                ads=AggregatedConfigSource(),
                resource_api_version=ApiVersion.V3,
                initial_fetch_timeout=duration(0),
            ),
            type_urls=[f"type.googleapis.com/{JwtAuthentication.DESCRIPTOR.full_name}"],
        ),
    )


def extension(resolved: Resolved) -> TypedExtensionConfig | None:
    """What the agent completes with keys and serves by ECDS."""
    if not resolved.native_tokens:
        return None
    providers = {issuer: _provider(issuer) for issuer in issuers(resolved.spec)}
    requirements = [JwtRequirement(provider_name=issuer) for issuer in providers]
    # the guard decides about all other requests, so none is refused here
    requirements.append(JwtRequirement(allow_missing_or_failed=Empty()))
    rule = RequirementRule(
        match=RouteMatch(prefix="/"),
        requires=JwtRequirement(requires_any=JwtRequirementOrList(requirements=requirements)),
    )
    return TypedExtensionConfig(
        name=NAME, typed_config=packed(JwtAuthentication(providers=providers, rules=[rule]))
    )


def _provider(issuer: str) -> JwtProvider:
    return JwtProvider(
        issuer=issuer,
        # Said, because Envoy would else look into the query as well.
        from_headers=[JwtHeader(name="authorization", value_prefix="Bearer ")],
        # The guard may have to look at the token; strip_credentials takes it away afterwards.
        forward=True,
        payload_in_metadata="payload",
        header_in_metadata="header",
        require_expiration=True,
        clock_skew_seconds=LEEWAY_SECONDS - 1,
        jwt_cache_config=JwtCacheConfig(jwt_cache_size=KEPT_TOKENS),
    )
