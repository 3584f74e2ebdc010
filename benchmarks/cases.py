"""What is measured: each case is a configuration in front of the same upstream, and a request."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from sidecar.worker_settings import DEFAULT_WIRE

Front = Literal["envoy", "sidecar"]
DETECTORS: list[dict[str, Any]] = [{"sanitize": {}}, {"promptInjection": {}}, {"secrets": {}}, {"pii": {}}]
OUTPUT: list[dict[str, Any]] = [
    {"canary": {"tokens": ["canary-0123456789"]}},
    {"secrets": {"action": "redact"}},
    {"pii": {}},
]
# English prose of everyday words: what a detector has to read through without a hit.
_PROSE = (
    "The river was low that summer, and the ferry could not always reach the far side. People waited under the trees, "
    "talked about prices and the weather, and counted the boats that came down from the hills. "
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """front "envoy": Envoy alone, with `filters` of the compiled chain kept. "sidecar": agent, Envoy and worker, whose
    wire engine is `wire`.
    """

    path: str
    front: Front = "sidecar"
    filters: tuple[str, ...] = ()
    checks: dict[str, Any] = field(default_factory=dict)
    prompt_bytes: int = 900
    stream: bool = False
    connections: int = 32
    wire: Literal["ngh2", "grpcio"] = DEFAULT_WIRE

    def policy(self, port: int, model_port: int) -> dict[str, Any]:
        """The policy document of this case; 100 % of requests audited, 10 % traced, as shipped."""
        return {
            "apiVersion": "bartizan.dev/v1alpha1",
            "kind": "ModelPolicy",
            "metadata": {"name": "bench"},
            "spec": {
                "selector": {"matchLabels": {"app": "bench"}},
                "listener": {"address": "127.0.0.1", "port": port, "tls": "none"},
                "model": {"name": "bench", "protocol": "openai", "port": model_port},
                "tenants": ["acme"],
                "authn": {"apiKeys": {"set": "bench"}},
                "authz": [{"name": "plan", "deny": 'identity.plan == "trial"'}],
                "limits": {"requests": [{"per": "key", "rate": "1000000/s"}], "body": {"max": "4MiB"}},
                **self.checks,
            },
        }

    def request(self, port: int, key: str) -> bytes:
        """The whole HTTP/1.1 request."""
        prose = (_PROSE * (self.prompt_bytes // len(_PROSE) + 1))[: self.prompt_bytes]
        document: dict[str, Any] = {"model": "bench", "messages": [{"role": "user", "content": prose}]}
        if self.stream:
            document["stream"] = True
        body = json.dumps(document, separators=(",", ":")).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nx-api-key: {key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


CASES = (
    Case(path="no_filter", front="envoy"),
    Case(path="native_only", front="envoy", filters=("envoy.filters.http.rbac", "envoy.filters.http.buffer")),
    Case(path="ext_authz_ngh2", wire="ngh2"),
    Case(path="ext_authz_grpcio", wire="grpcio"),
    Case(path="ext_proc_request", checks={"input": DETECTORS}),
    Case(path="ext_proc_request_response", checks={"input": DETECTORS, "output": OUTPUT}),
    Case(path="sse_no_filter", front="envoy", stream=True, connections=8),
    Case(path="sse_50", checks={"input": DETECTORS, "output": OUTPUT}, stream=True, connections=8),
    Case(path="prompt_220k", checks={"input": DETECTORS}, prompt_bytes=220_000, connections=20),
)
