"""The paths that each protocol with routes of its own serves; every other path is undeclared (404).

Only what the guard can read is here: files, batches, fine-tuning and engines' own endpoints are not.
"""

from __future__ import annotations

from bartizan.policy.protocols import PROTOCOLS
from bartizan.policy.schema import Method, ModelPolicySpec, Route

_MODELS = Route(path="/v1/models", method="GET")
_OWN = {
    "openai": (
        Route(path="/v1/chat/completions"),
        Route(path="/v1/completions"),
        Route(path="/v1/responses"),
        Route(path="/v1/embeddings"),
        Route(path="/v1/moderations"),
        _MODELS,
    ),
    "ollama": (
        Route(path="/api/chat"),
        Route(path="/api/generate"),
        Route(path="/api/embed"),
        Route(path="/api/embeddings"),
        Route(path="/api/tags", method="GET"),
        Route(path="/api/version", method="GET"),
    ),
    "mcp": (Route(path="/mcp"), Route(path="/mcp", method="GET"), Route(path="/mcp", method="DELETE")),
    "anthropic": (Route(path="/v1/messages"), Route(path="/v1/messages/count_tokens"), _MODELS),
}

_NAMED: dict[str, tuple[tuple[str, Method], ...]] = {
    "kserve_v2": (
        ("/v2/models/{}/infer", "POST"),
        ("/v2/models/{}", "GET"),
        ("/v2/models/{}/ready", "GET"),
        ("/v2/health/live", "GET"),
        ("/v2/health/ready", "GET"),
        ("/v2", "GET"),
    ),
    "kserve_v1": (
        ("/v1/models/{}:predict", "POST"),
        ("/v1/models/{}:classify", "POST"),
        ("/v1/models/{}:regress", "POST"),
        ("/v1/models/{}", "GET"),
    ),
}
"""With the model's name in them."""


def routes_of(spec: ModelPolicySpec) -> tuple[Route, ...]:
    """The policy's routes, or its protocol's own."""
    if spec.routes or PROTOCOLS[spec.model.protocol].routes == "required":
        return spec.routes
    if PROTOCOLS[spec.model.protocol].routes == "named":
        named = _NAMED[spec.model.protocol]
        return tuple(Route(path=path.format(spec.model.name), method=method) for path, method in named)
    return _OWN[spec.model.protocol]
