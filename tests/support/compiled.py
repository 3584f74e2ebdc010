"""A small policy, and what the compiler makes of it."""

from __future__ import annotations

from typing import Any

import msgspec

from bartizan.policy.bundle import Bundle
from bartizan.policy.schema import ModelPolicy
from control_plane.compile.bundle import compile_bundle


def policy(**spec: Any) -> ModelPolicy:
    document = {
        "apiVersion": "bartizan.dev/v1alpha1",
        "kind": "ModelPolicy",
        "metadata": {"name": "m"},
        "spec": {
            "selector": {"matchLabels": {"app": "m"}},
            "listener": {"tls": "none"},
            "model": {"name": "m", "protocol": "json_fields"},
            "routes": [{"path": "/p", "inputText": ["$.text"]}],
            "tenants": ["acme"],
            "authn": {"apiKeys": {"set": "m"}},
            **spec,
        },
    }
    return msgspec.convert(document, ModelPolicy)


def bundle(given: ModelPolicy, revision: int = 1, version: int = 1) -> Bundle:
    return compile_bundle(given, revision=revision, version=version, issued_at="2026-01-02T03:04:05Z")


def filters(given: Bundle) -> list[str]:
    (listener,) = given.envoy.listeners
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return [entry["name"].removeprefix("envoy.filters.http.") for entry in manager["http_filters"]]
