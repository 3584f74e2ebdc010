"""What travels (Bundle) and what a guard worker builds its plan from (GuardPlan).

compile() makes it, push signs it, the agent verifies it, workers load the plan, Envoy gets the resources.
Canonical bytes and signatures are in bartizan/policy/signing.py.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from bartizan.policy.checks import InputCheck, OutputCheck
from bartizan.policy.engines import PatchRule
from bartizan.policy.schema import AuthzRule, Crs, Jwt, Protocol, Route

SCHEMA_VERSION = 1


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of what travels: encoders omit defaults, so that older sidecars keep working."""


class RateLimit(Part, frozen=True):
    """A token bucket. Tokens per second and size hold for the whole sidecar; each worker takes its share."""

    per: Literal["key", "tenant", "sidecar"]
    per_second: float
    burst: int


class GuardModel(Part, frozen=True):
    """The model as authorization rules see it."""

    name: str
    protocol: Protocol
    labels: dict[str, str] = {}


class GuardPlan(Part, frozen=True):
    """Everything a guard worker decides by. `id` is what routes name: "<revision>.<version>"."""

    id: str
    policy: str
    revision: int
    model: GuardModel
    tenants: tuple[str, ...]
    api_key_set: str = ""
    jwt: tuple[Jwt, ...] = ()
    authz: tuple[AuthzRule, ...] = ()
    """Rules that need only headers: decided in ext_authz."""
    body_authz: tuple[AuthzRule, ...] = ()
    """Rules that look into the body (request.model, request.stream …): decided first in ext_proc."""
    rate_limits: tuple[RateLimit, ...] = ()
    max_body_bytes: int = 1_048_576
    json_depth: int = 32
    routes: tuple[Route, ...] = ()
    """All declared paths; for protocols with routes of their own the compiler fills them in."""
    waf: Crs | None = None
    patches: tuple[PatchRule, ...] = ()
    """Virtual patches for the model's engine."""
    input: tuple[InputCheck, ...] = ()
    output: tuple[OutputCheck, ...] = ()
    mode: Literal["enforce", "shadow"] = "enforce"


class EnvoyResources(Part, frozen=True):
    """Envoy resources in protobuf's JSON form, each with its "@type"."""

    listeners: tuple[dict[str, Any], ...] = ()
    routes: tuple[dict[str, Any], ...] = ()
    clusters: tuple[dict[str, Any], ...] = ()
    extensions: tuple[dict[str, Any], ...] = ()
    """Configurations of single filters (ECDS), still without the issuers' keys, which the agent puts in."""


class TlsSource(Part, frozen=True):
    """A listener's certificate: the agent reads the files and serves them to Envoy as SDS secret `name`."""

    name: str
    cert: str
    key: str


class SecretSource(Part, frozen=True):
    """A secret that the agent subscribes at the control plane and serves to Envoy under the same name."""

    name: str


class Bundle(Part, frozen=True):
    """One policy compiled for a sidecar. `version` rises with every publication, also when an old revision returns."""

    schema_version: int
    policy: str
    revision: int
    version: int
    issued_at: str
    """RFC 3339, UTC."""
    envoy: EnvoyResources
    plan: GuardPlan
    listener_address: str
    listener_port: int
    """Where the probe connects (over loopback when the address is a wildcard)."""
    requires: tuple[str, ...] = ()
    """Capabilities without which a sidecar can't enforce this whole bundle."""
    tls: TlsSource | None = None
    secrets: tuple[SecretSource, ...] = ()
    content_hop: bool = False
    """Whether routes go through ext_proc: the probe then proves that hop too."""
    body_in_check: bool = False
    """Whether small plain bodies are judged in ext_authz, without ext_proc: the probe then proves both ways."""
