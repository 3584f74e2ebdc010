"""compile_bundle: one policy becomes what travels to sidecars. Pure: the same input always makes the same bundle.

Third stop on a policy's way (validate -> revise -> compile -> sign -> publish).
"""

from __future__ import annotations

from bartizan.policy.bundle import SCHEMA_VERSION, Bundle, SecretSource
from bartizan.policy.capabilities import BODY_IN_CHECK, NATIVE_TOKENS, required_by
from bartizan.policy.schema import ModelPolicy
from control_plane.compile.envoy.resources import envoy_resources
from control_plane.compile.errors import check
from control_plane.compile.plan import guard_plan
from control_plane.compile.resolve import Resolved, resolve


def compile_bundle(policy: ModelPolicy, *, revision: int, version: int, issued_at: str) -> Bundle:
    """Envoy's resources and the guard's plan for one publication of a validated policy.

    issued_at is RFC 3339 in UTC. Raises PolicyInvalid with every part that doesn't fit.
    """
    check(policy)
    resolved = resolve(policy, revision=revision, version=version)
    return Bundle(
        schema_version=SCHEMA_VERSION,
        policy=policy.qualified_name,
        revision=revision,
        version=version,
        issued_at=issued_at,
        envoy=envoy_resources(resolved),
        plan=guard_plan(resolved),
        listener_address=policy.spec.listener.address,
        listener_port=policy.spec.listener.port,
        requires=tuple(sorted({*required_by(policy.spec), *_hops(resolved)})),
        tls=resolved.tls,
        secrets=(SecretSource(name=resolved.credential.secret),) if resolved.credential else (),
        content_hop=resolved.content_hop,
        body_in_check=resolved.body_in_check,
    )


def _hops(resolved: Resolved) -> tuple[str, ...]:
    """Ways of a request that a sidecar must know."""
    ways = {BODY_IN_CHECK: resolved.body_in_check, NATIVE_TOKENS: resolved.native_tokens}
    return tuple(name for name, taken in ways.items() if taken)
