"""Routes (RDS): the probe's, one for each declared path and method, and at last 404 for everything else.

What a policy says is here rather than in the listener, because a change of routes takes effect in milliseconds and
cuts no running stream.
"""

from __future__ import annotations

from google.protobuf.any_pb2 import Any
from google.protobuf.struct_pb2 import Struct

from bartizan.policy import names, schema
from bartizan.policy.engines import EngineRoute
from bartizan.xds.resources import packed
from control_plane.compile.envoy.filters import buffer, ext_authz
from control_plane.compile.envoy.filters.catalog import Filter, in_use
from control_plane.compile.envoy.tracing import sampling
from control_plane.compile.envoy.values import FALSE, duration
from control_plane.compile.resolve import Resolved
from protos.gen.envoy.config.core.v3.base_pb2 import Metadata
from protos.gen.envoy.config.route.v3.route_components_pb2 import (
    Decorator,
    DirectResponseAction,
    FilterConfig,
    HeaderMatcher,
    Route,
    RouteAction,
    RouteMatch,
    VirtualHost,
)
from protos.gen.envoy.config.route.v3.route_pb2 import RouteConfiguration
from protos.gen.envoy.type.matcher.v3.regex_pb2 import RegexMatcher
from protos.gen.envoy.type.matcher.v3.string_pb2 import StringMatcher
from protos.gen.envoy.type.v3.range_pb2 import Int64Range

IDLE_SECONDS = 300.0
"""How long a model may think between two bytes of an answer."""

PROBE_ROUTE = "probe"
LAST_ROUTE = "undeclared"

# What must not come back from the model as if the guard had said it.
# Nor may it send clients elsewhere: a redirect of a model names a host behind us, or one of its own choice.
_NOT_FROM_MODEL = (names.HEADER_DECISION, names.HEADER_PROBE, names.HEADER_PROOF, "location", "refresh")


def route_configuration(resolved: Resolved) -> RouteConfiguration:
    """Matched in order; all of one virtual host, because the policy, not the client's Host, decides."""
    filters = tuple(entry for entry, _ in in_use(resolved))
    usual = _per_route(resolved, filters)
    with_body = _with_body(resolved, filters) if resolved.body_in_check else None
    routes = [
        *(() if with_body is None else (_probe(resolved, filters, with_body, *_comes_with_check(resolved)),)),
        _probe(resolved, filters, usual),
        *(each for route in resolved.routes for each in _all_of(resolved, route, filters, usual, with_body)),
        *(_exposed(resolved, route, filters) for route in resolved.exposed),
        *(_closed(route, filters) for route in resolved.closed),
        _undeclared(filters),
    ]
    return RouteConfiguration(
        name=names.ROUTES,
        virtual_hosts=[VirtualHost(name=names.ROUTES, domains=["*"], routes=routes)],
    )


def _all_of(
    resolved: Resolved,
    route: schema.Route,
    filters: tuple[Filter, ...],
    usual: dict[str, Any],
    with_body: dict[str, Any] | None,
) -> list[Route]:
    """All for one path and method together: Envoy tries routes one after the other, and no other declared one fits them."""
    routes = [_too_large(resolved, route, filters)]
    if not resolved.content_hop:
        routes.append(_compressed(route, filters))
    if with_body is not None:
        routes.append(_declared(resolved, route, with_body, *_comes_with_check(resolved)))
    return [*routes, _declared(resolved, route, usual)]


def _probe(
    resolved: Resolved, filters: tuple[Filter, ...], configured: dict[str, Any], *headers: HeaderMatcher
) -> Route:
    """All checks of a served route, but no model behind it: by construction a probe can't reach one."""
    match = HeaderMatcher(name=names.HEADER_PROBE, present_match=True)
    return Route(
        name=PROBE_ROUTE,
        match=RouteMatch(prefix="/", headers=[match, *headers]),
        direct_response=DirectResponseAction(status=404),
        metadata=_revision(resolved),
        typed_per_filter_config={
            **configured,
            **{entry.name: _off() for entry in filters if not entry.on_probe},
        },
    )


def _declared(
    resolved: Resolved, route: schema.Route, configured: dict[str, Any], *headers: HeaderMatcher
) -> Route:
    return Route(
        name=f"{route.method} {route.path}",
        match=_match(route, *headers),
        route=RouteAction(
            cluster=names.CLUSTER_MODEL,
            # An answer may stream for as long as bytes come. No retry_policy: a model is not asked twice.
            timeout=duration(0),
            idle_timeout=duration(IDLE_SECONDS),
        ),
        metadata=_revision(resolved),
        decorator=Decorator(operation=names.ingress_span(f"{route.method} {route.path}"), propagate=FALSE)
        if resolved.envoy_traces
        else None,
        typed_per_filter_config=configured,
        # The guard reads plain bytes only, so the model is not asked for others.
        request_headers_to_remove=["accept-encoding"] if resolved.answers_checked else [],
        response_headers_to_remove=_NOT_FROM_MODEL,
        tracing=sampling(resolved),
    )


def _exposed(resolved: Resolved, route: schema.Route, filters: tuple[Filter, ...]) -> Route:
    """Health, metadata or metrics of the engine: authenticated, limited and authorized, but without a content hop."""
    made = _declared(resolved, route, _per_route(resolved, filters))
    for entry in filters:
        if entry.for_content:
            made.typed_per_filter_config[entry.name].CopyFrom(_off())
    made.typed_per_filter_config[ext_authz.NAME].CopyFrom(
        packed(ext_authz.per_route(resolved, content=False))
    )
    made.typed_per_filter_config[buffer.NAME].CopyFrom(packed(buffer.unread(resolved)))
    return made


def _closed(route: EngineRoute, filters: tuple[Filter, ...]) -> Route:
    """A route of the engine that nobody may call: 403, so that a record tells it from a mistyped path.

    One for each path: Envoy takes no regular expression of more than 100 RE2 instructions.
    """
    if "*" in route.path:
        match = RouteMatch(safe_regex=RegexMatcher(regex=route.pattern))
    else:
        match = RouteMatch(path=route.path)
    return Route(
        name=f"engine {route.kind} {route.path}",
        match=match,
        direct_response=DirectResponseAction(status=403),
        typed_per_filter_config=_refusing(filters),
    )


def _too_large(resolved: Resolved, route: schema.Route, filters: tuple[Filter, ...]) -> Route:
    """A body that announces its size is refused before a byte of it is read; the others by the buffer filter."""
    above = Int64Range(start=resolved.body_max + 1, end=2**62)
    return Route(
        name=f"too large {route.method} {route.path}",
        match=_match(route, HeaderMatcher(name="content-length", range_match=above)),
        direct_response=DirectResponseAction(status=413),
        typed_per_filter_config=_refusing(filters),
    )


def _compressed(route: schema.Route, filters: tuple[Filter, ...]) -> Route:
    """Where nobody reads the body, a compressed one is refused: the limit holds for what the model would inflate."""
    encoding = "content-encoding"
    compressed = [
        HeaderMatcher(name=encoding, present_match=True),
        HeaderMatcher(name=encoding, string_match=StringMatcher(exact="identity"), invert_match=True),
    ]
    return Route(
        name=f"compressed {route.method} {route.path}",
        match=_match(route, *compressed),
        direct_response=DirectResponseAction(status=415),
        typed_per_filter_config=_refusing(filters),
    )


def _undeclared(filters: tuple[Filter, ...]) -> Route:
    """Costs no guard call and holds no body."""
    return Route(
        name=LAST_ROUTE,
        match=RouteMatch(prefix="/"),
        direct_response=DirectResponseAction(status=404),
        typed_per_filter_config=_refusing(filters),
    )


def _match(route: schema.Route, *headers: HeaderMatcher) -> RouteMatch:
    """`path` is compared with the normalised path without its query, case-sensitively. Envoy compares it last, so what few
    requests have stands first.
    """
    method = HeaderMatcher(name=":method", string_match=StringMatcher(exact=route.method))
    return RouteMatch(path=route.path, headers=[*headers, method])


def _refusing(filters: tuple[Filter, ...]) -> dict[str, Any]:
    return {entry.name: _off() for entry in filters if not entry.everywhere}


def _per_route(resolved: Resolved, filters: tuple[Filter, ...]) -> dict[str, Any]:
    return {entry.name: packed(entry.per_route(resolved)) for entry in filters if entry.per_route is not None}


def _with_body(resolved: Resolved, filters: tuple[Filter, ...]) -> dict[str, Any]:
    return {
        **{entry.name: packed(entry.with_body(resolved)) for entry in filters if entry.with_body is not None},
        **{entry.name: _off() for entry in filters if entry.for_bodies},
    }


def _comes_with_check(resolved: Resolved) -> tuple[HeaderMatcher, ...]:
    """Announced, small and plain. The same checks judge all others, after the caller is known."""
    small = Int64Range(start=0, end=ext_authz.largest_body(resolved) + 1)
    return (
        HeaderMatcher(name="content-length", range_match=small),
        HeaderMatcher(name="content-encoding", present_match=True, invert_match=True),
    )


def _revision(resolved: Resolved) -> Metadata:
    values = Struct()
    values.update({names.REVISION: resolved.plan_id})
    return Metadata(filter_metadata={names.ROUTE_METADATA: values})


def _off() -> Any:
    return packed(FilterConfig(disabled=True))
