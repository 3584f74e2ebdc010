"""Resolves a policy: defaults made explicit, derived facts computed once. Pure, knows no Envoy.

First step of compile_bundle; the Envoy resources and the guard plan are both built from a Resolved, so that they
can't disagree about routes, content or limits.
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import UNSET, UnsetType

from bartizan.policy import names
from bartizan.policy.bundle import RateLimit, TlsSource
from bartizan.policy.engines import EngineRoute, PatchRule
from bartizan.policy.expressions import compile_expression
from bartizan.policy.quantities import parse_bytes, parse_rate, rate_number
from bartizan.policy.schema import AuthzRule, Credential, ModelPolicy, ModelPolicySpec, RequestLimit, Route
from control_plane.compile.engine import closed_routes, exposed_routes, virtual_patches
from control_plane.compile.native import why_guard
from control_plane.compile.routes import routes_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A policy with nothing left implicit."""

    policy: ModelPolicy
    revision: int
    version: int
    routes: tuple[Route, ...]
    tls: TlsSource | None
    credential: Credential | None
    rate_limits: tuple[RateLimit, ...]
    body_max: int
    """Bytes, after decompression."""
    authz: tuple[AuthzRule, ...]
    body_authz: tuple[AuthzRule, ...]
    exposed: tuple[Route, ...] = ()
    """Routes of the engine beside `routes`, whose bodies nobody reads."""
    closed: tuple[EngineRoute, ...] = ()
    """Routes of the engine that are refused by name."""
    patches: tuple[PatchRule, ...] = ()

    @property
    def spec(self) -> ModelPolicySpec:
        return self.policy.spec

    @property
    def plan_id(self) -> str:
        """What routes and the guard call this publication."""
        return f"{self.revision}.{self.version}"

    @property
    def content_hop(self) -> bool:
        """Whether bodies must reach the guard."""
        spec = self.spec
        return bool(spec.input or spec.output or self.body_authz or self.patches or spec.waf is not UNSET)

    @property
    def body_in_check(self) -> bool:
        """Whether ext_authz can say all that the policy asks of a request: nothing changes it or reads the answer."""
        return (
            self.content_hop
            and self.spec.waf is UNSET  # it is asked in a thread, and of the query too
            and not self.answers_checked
            and not any(check.edits for check in self.spec.input)
        )

    @property
    def native_tokens(self) -> bool:
        """Whether Envoy lets good tokens in by itself; all other requests are the guard's."""
        return not why_guard(self.spec, bodies=self.content_hop)

    @property
    def trace_steps(self) -> int:
        """Of names.TRACE_STEPS requests so many are traced; any share above 0 is at least one."""
        share = self.spec.telemetry.trace_sample
        return max(round(share * names.TRACE_STEPS), 1) if share else 0

    @property
    def envoy_traces(self) -> bool:
        """Whether Envoy has a tracer: only where it lets requests in that no guard sees (ADR 83)."""
        return self.native_tokens and self.trace_steps > 0

    @property
    def answers_checked(self) -> bool:
        return self.spec.answers_checked


def resolve(policy: ModelPolicy, *, revision: int, version: int) -> Resolved:
    """The policy must have passed control_plane.compile.errors.check."""
    spec = policy.spec
    return Resolved(
        policy=policy,
        revision=revision,
        version=version,
        routes=routes_of(spec),
        tls=_tls(policy),
        credential=None if spec.model.credential is UNSET else spec.model.credential,
        exposed=exposed_routes(spec),
        closed=closed_routes(spec),
        patches=virtual_patches(spec),
        rate_limits=tuple(_rate_limit(limit) for limit in spec.limits.requests),
        body_max=parse_bytes(spec.limits.body.max),
        authz=tuple(rule for rule in spec.authz if not _asks_body(rule)),
        body_authz=tuple(rule for rule in spec.authz if _asks_body(rule)),
    )


def _tls(policy: ModelPolicy) -> TlsSource | None:
    tls = policy.spec.listener.tls
    if tls == "none":
        return None
    return TlsSource(name=f"{tls.cert},{tls.key}", cert=tls.cert, key=tls.key)


def _rate_limit(limit: RequestLimit) -> RateLimit:
    # Without a burst the bucket holds one unit's worth of the rate, as it is written ("50/s" -> 50, "10/m" -> 10).
    burst = rate_number(limit.rate) if limit.burst is UNSET else limit.burst
    return RateLimit(per=limit.per, per_second=parse_rate(limit.rate), burst=burst)


def _asks_body(rule: AuthzRule) -> bool:
    return any(
        compile_expression(text).uses_body
        for text in (rule.allow, rule.deny)
        if not isinstance(text, UnsetType)
    )
