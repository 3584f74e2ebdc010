"""The paths that each protocol with routes of its own serves; every other path is undeclared (404).

Only what the guard can read is here: files, batches, fine-tuning and engines' own endpoints are not.
"""

from __future__ import annotations

from bartizan.policy.protocols import PROTOCOLS
from bartizan.policy.schema import ModelPolicySpec, Route

_MODELS = Route(path="/v1/models", method="GET")
_FIXED = {
    "openai": (
        Route(path="/v1/chat/completions"),
        Route(path="/v1/completions"),
        Route(path="/v1/responses"),
        Route(path="/v1/embeddings"),
        Route(path="/v1/moderations"),
        _MODELS,
    ),
    "anthropic": (Route(path="/v1/messages"), Route(path="/v1/messages/count_tokens"), _MODELS),
}


def routes_of(spec: ModelPolicySpec) -> tuple[Route, ...]:
    """The policy's routes, or its protocol's own."""
    if PROTOCOLS[spec.model.protocol].routes == "required":
        return spec.routes
    return _FIXED[spec.model.protocol]
