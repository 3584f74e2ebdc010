"""What a policy's engine adds: routes that it opens, routes that are refused by name, virtual patches."""

from __future__ import annotations

from msgspec import UNSET

from bartizan.policy.engines import NEVER, EngineRoute, PatchRule, Profile, patches, profiles
from bartizan.policy.protocols import PROTOCOLS
from bartizan.policy.schema import ModelPolicySpec, Route
from control_plane.compile.routes import routes_of

_CLOSED = NEVER | {"metrics"}


def exposed_routes(spec: ModelPolicySpec) -> tuple[Route, ...]:
    """Routes that `expose` names and the policy does not declare itself; one `*` stands for the model's name."""
    profile = _profile(spec)
    if profile is None:
        return ()
    own = {(route.method, route.path) for route in routes_of(spec)}
    found = [
        Route(path=route.path.replace("*", spec.model.name), method="GET")
        for route in profile.routes
        if route.kind in spec.model.expose and route.method == "GET" and route.path.count("*") <= 1
    ]
    return tuple(route for route in dict.fromkeys(found) if (route.method, route.path) not in own)


def closed_routes(spec: ModelPolicySpec) -> tuple[EngineRoute, ...]:
    """Administration, debugging and metrics of the engine: 403 with a record instead of 404."""
    profile = _profile(spec)
    return tuple(route for route in profile.routes if route.kind in _CLOSED) if profile else ()


def virtual_patches(spec: ModelPolicySpec) -> tuple[PatchRule, ...]:
    """Rules on JSON bodies; none where the protocol's bodies are not read."""
    reads = PROTOCOLS[spec.model.protocol].texts
    if spec.model.engine is UNSET or spec.model.virtual_patches == "off" or not reads:
        return ()
    return patches(spec.model.engine)


def _profile(spec: ModelPolicySpec) -> Profile | None:
    return None if spec.model.engine is UNSET else profiles().get(spec.model.engine)
