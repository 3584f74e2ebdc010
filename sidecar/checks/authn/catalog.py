"""Which authentication methods a plan uses: one line per method."""

from __future__ import annotations

from bartizan.policy.bundle import GuardPlan
from sidecar.checks.authn.api_key import ApiKeyAuthenticator
from sidecar.checks.authn.base import Authenticator


def build_authenticators(plan: GuardPlan) -> tuple[Authenticator, ...]:
    """The plan's methods."""
    methods: list[Authenticator] = []
    if plan.api_key_set:
        methods.append(ApiKeyAuthenticator(key_set=plan.api_key_set))
    if plan.jwt:
        # brings the libraries of tokens along, which a policy of API keys does not need
        from sidecar.checks.authn.jwt import JwtAuthenticator

        methods.append(JwtAuthenticator(issuers={config.issuer: config for config in plan.jwt}))
    return tuple(methods)
