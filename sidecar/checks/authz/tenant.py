"""The required tenant list and the models of a key: what no rule can lift."""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.model.decision import Cause
from sidecar.model.request import BodyFacts, Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantGate:
    """Who may reach this endpoint at all."""

    tenants: frozenset[str]
    model: str

    def refuses(self, identity: Identity) -> Cause | None:
        """None when the caller may go on."""
        if identity.tenant not in self.tenants:
            return Cause.TENANT_NOT_ALLOWED
        if identity.models and self.model not in identity.models:
            return Cause.MODEL_NOT_ALLOWED
        return None


def refuses_model(identity: Identity, facts: BodyFacts) -> bool:
    """Whether the body asks for a model that the caller's key does not list."""
    return bool(identity.models and facts.model and facts.model not in identity.models)
