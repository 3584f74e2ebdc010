"""What is measured: each case is a front (Envoy, a sidecar, a peer) before the same upstream, and a request."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sidecar.worker_settings import DEFAULT_WIRE, Wire

Front = Literal["envoy", "sidecar", "grpc", "http", "proxy"]
DETECTORS: list[dict[str, Any]] = [{"sanitize": {}}, {"promptInjection": {}}, {"secrets": {}}, {"pii": {}}]
DECIDING: list[dict[str, Any]] = [{"promptInjection": {}}, {"secrets": {}}, {"pii": {"action": "flag"}}]
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


def prose(size: int) -> str:
    """A prompt of so many bytes."""
    return (_PROSE * (size // len(_PROSE) + 1))[:size]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """front "envoy": Envoy alone, with `filters` of the compiled chain kept. "sidecar": agent, Envoy and worker, whose
    wire engine is `wire`. "grpc", "http": Envoy with an ext_authz peer, "proxy": a peer that is a proxy itself; all
    three are started by `command`.
    """

    path: str
    base: str = "no_filter"
    """The row that `ratio` and `added_*` compare with."""
    front: Front = "sidecar"
    filters: tuple[str, ...] = ()
    needs: str = ""
    """An Envoy filter that the compiled policy must have; without it the row is skipped, and says so."""
    checks: dict[str, Any] = field(default_factory=dict)
    credential: Literal["key", "jwt"] = "key"
    prompt_bytes: int = 900
    stream: bool = False
    connections: int = 32
    rate: float = 200.0
    """Requests a second of the open loop."""
    wide: bool = False
    """Also with 256 connections."""
    wire: Wire = DEFAULT_WIRE
    command: str = ""
    body: bool = False
    """An ext_authz peer gets the request's body, too."""
    own: bool = False
    """A front of its own even where another case has the same one."""

    @property
    def slow(self) -> bool:
        """Whether few answers fit into a round: their generator must wait for all that it has asked. wrk leaves at its end,
        and what the guard did for those that are open by then would count as the cost of the others.
        """
        return self.stream or self.prompt_bytes > 100_000

    @property
    def front_key(self) -> str:
        """Cases with the same one share their running front."""
        parts = (self.front, self.filters, self.checks, self.credential, self.wire, self.command, self.body)
        return f"{parts} {self.path if self.own else ''}"

    def policy(self, port: int, model_port: int, authn: dict[str, Any] | None = None) -> dict[str, Any]:
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
                "authn": authn or {"apiKeys": {"set": "bench"}},
                "authz": [{"name": "plan", "deny": 'identity.plan == "trial"'}],
                "limits": {"requests": [{"per": "key", "rate": "1000000/s"}], "body": {"max": "4MiB"}},
                **self.checks,
            },
        }

    def request(self, port: int, credential: str, *, user: str = "") -> bytes:
        """The whole HTTP/1.1 request. `credential` is one header line."""
        content = prose(self.prompt_bytes)
        document: dict[str, Any] = {"model": "bench", "messages": [{"role": "user", "content": content}]}
        if self.stream:
            document["stream"] = True
        if user:
            document["user"] = user
        body = json.dumps(document, separators=(",", ":")).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{credential}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


_RBAC, _BUFFER, _JWT = (f"envoy.filters.http.{name}" for name in ("rbac", "buffer", "jwt_authn"))
_TOKENS_ALONE: dict[str, Any] = {"authz": [], "limits": {"body": {"max": "4MiB"}}}
_REQUEST: dict[str, Any] = {"input": DETECTORS}
_BOTH: dict[str, Any] = {"input": DETECTORS, "output": OUTPUT}

CASES = (
    Case(path="no_filter", front="envoy", wide=True),
    Case(path="native_only", front="envoy", filters=(_RBAC, _BUFFER)),
    Case(path="native_jwt", credential="jwt", needs=_JWT, checks=_TOKENS_ALONE),
    Case(path="ext_authz_jwt", credential="jwt"),
    Case(path="ext_authz", wide=True),
    Case(path="ext_authz_ngh2", wire="ngh2"),
    Case(path="ext_authz_grpcio", wire="grpcio", wide=True),
    Case(path="ext_authz_untraced", checks={"telemetry": {"traceSample": 0}}),
    Case(path="ext_authz_body", checks={"input": DECIDING}),
    Case(path="ext_proc_request", checks=_REQUEST),
    Case(path="ext_proc_request_16k", base="no_filter_16k", checks=_REQUEST, prompt_bytes=16_000, rate=50),
    Case(path="ext_proc_request_response", checks=_BOTH, wide=True),
    Case(path="no_filter_16k", front="envoy", prompt_bytes=16_000, rate=50),
    Case(
        path="no_filter_220k",
        base="no_filter_220k",
        front="envoy",
        prompt_bytes=220_000,
        connections=20,
        rate=10,
    ),
    Case(
        path="prompt_220k",
        base="no_filter_220k",
        checks=_REQUEST,
        prompt_bytes=220_000,
        connections=20,
        rate=10,
        own=True,
    ),
    Case(
        path="sse_no_filter", base="sse_no_filter", front="envoy", stream=True, connections=8, rate=20
    ),
    Case(path="sse_request", base="sse_no_filter", checks=_REQUEST, stream=True, connections=8, rate=20),
    Case(path="sse_50", base="sse_request", checks=_BOTH, stream=True, connections=8, rate=20),
)  # fmt: skip

STREAMS = Case(path="streams_2000", checks={"output": OUTPUT}, stream=True, prompt_bytes=100)
"""Many long answers at once, inspected as they flow: benchmarks/streams.py."""


def check_only(word: str, paths: Sequence[str]) -> None:
    """Ends the program where no path contains the word: an empty report would stand in place of the last good one."""
    if not any(word in path for path in paths):
        sys.exit(f"no path contains {word!r}; there are {', '.join(paths)}")
