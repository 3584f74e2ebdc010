"""The guard's half of a bundle: what workers decide by. Pure; the Envoy half is in compile/envoy."""

from __future__ import annotations

from msgspec import UNSET

from bartizan.policy.bundle import GuardModel, GuardPlan
from control_plane.compile.resolve import Resolved


def guard_plan(resolved: Resolved) -> GuardPlan:
    """Everything a worker needs; nothing that Envoy already decided."""
    spec = resolved.spec
    return GuardPlan(
        id=resolved.plan_id,
        policy=resolved.policy.qualified_name,
        revision=resolved.revision,
        model=GuardModel(name=spec.model.name, protocol=spec.model.protocol, labels=spec.model.labels),
        tenants=spec.tenants,
        api_key_set="" if spec.authn.api_keys is UNSET else spec.authn.api_keys.set,
        jwt=spec.authn.jwt,
        authz=resolved.authz,
        body_authz=resolved.body_authz,
        rate_limits=resolved.rate_limits,
        max_body_bytes=resolved.body_max,
        json_depth=spec.limits.body.json_depth,
        routes=(*resolved.routes, *resolved.exposed),
        waf=None if spec.waf is UNSET else spec.waf.crs,
        patches=resolved.patches,
        input=spec.input,
        output=spec.output,
        mode=spec.mode,
    )
