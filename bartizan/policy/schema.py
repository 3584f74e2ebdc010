"""The policy language: what authors write (bartizan.dev/v1alpha1), as types.

First stop on a policy's way. The types accept only what this release enforces; planned fields stand in
bartizan/policy/planned.py and are refused as `unsupported`. Validation (every error at once, each with its path) is in
bartizan/policy/validate.py.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from bartizan.policy.checks import InputCheck, OutputCheck
from bartizan.policy.engines import Engine, Exposed
from bartizan.policy.quantities import Quantity

API_VERSION = "bartizan.dev/v1alpha1"

Name = Annotated[str, Meta(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", description="RFC 1123 label")]
Port = Annotated[int, Meta(ge=1, le=65535)]
FileReference = Annotated[str, Meta(pattern=r"^file:[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Rate = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,6}/(s|m|h)$")]
Expression = Annotated[str, Meta(min_length=1, max_length=2048)]
FieldPath = Annotated[str, Meta(pattern=r"^\$(\.[A-Za-z_][A-Za-z0-9_-]*|\[\*\]|\[[0-9]{1,4}\])*$")]
RoutePath = Annotated[str, Meta(pattern=r"^/[A-Za-z0-9._~!$&'()*+,=:@/-]{0,255}$")]
Method = Literal["GET", "POST", "PUT", "DELETE"]
Protocol = Literal[
    "openai", "anthropic", "ollama", "mcp", "kserve_v2", "kserve_v1", "json_fields", "image", "opaque"
]


class Node(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    rename="camel",
):
    """Base of all parts of a document: immutable, strict, camelCase outside."""


class Metadata(Node, frozen=True):
    """The document's name; `namespace` must be that of the sidecars it selects (from their SPIFFE id)."""

    name: Name
    namespace: Name = "default"


class Selector(Node, frozen=True):
    """Which sidecars: all labels must be among those given at attestation."""

    match_labels: Annotated[dict[str, str], Meta(min_length=1)]


class TlsFiles(Node, frozen=True):
    """A certificate chain and key (PEM) in the sidecar's certificate folder; re-read when they change."""

    cert: FileReference
    key: FileReference


class Listener(Node, frozen=True):
    """Where clients connect. tls: files at the sidecar, or "none" for plain HTTP (then a mesh must encrypt)."""

    tls: TlsFiles | Literal["none"]
    address: str = "0.0.0.0"
    port: Port = 8443


class Credential(Node, frozen=True):
    """The key that the model's provider demands: a secret of the control plane, put in by Envoy after all checks."""

    secret: Name
    header: Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,64}$")] = "authorization"
    prefix: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{0,32} ?$")] = ""


class Model(Node, frozen=True):
    """The guarded model. It listens on loopback at `port`."""

    name: Annotated[str, Meta(min_length=1, max_length=128)]
    protocol: Protocol
    port: Port = 8000
    engine: Engine | UnsetType = UNSET
    expose: tuple[Exposed, ...] = ()
    virtual_patches: Literal["on", "off"] = "on"
    labels: dict[str, str] = {}
    credential: Credential | UnsetType = UNSET


class Route(Node, frozen=True):
    """One path of the model. Paths and methods not named are refused (404); fields are for protocol json_fields."""

    path: RoutePath
    method: Method = "POST"
    input_text: tuple[FieldPath, ...] = ()
    output_text: tuple[FieldPath, ...] = ()
    output_scores: tuple[FieldPath, ...] = ()


class ApiKeys(Node, frozen=True):
    """Keys issued by the control plane, in `x-api-key` or `authorization: Bearer`."""

    set: Name


class Jwt(Node, frozen=True):
    """Tokens of one issuer in `authorization: Bearer`. claims maps identity attributes to claim names."""

    issuer: Annotated[str, Meta(pattern=r"^https://[^\s?#]{1,255}$")]
    audiences: Annotated[tuple[str, ...], Meta(min_length=1, max_length=16)]
    claims: dict[Literal["tenant", "plan", "region", "subject"], str]
    jwks_uri: Annotated[str, Meta(pattern=r"^https://[^\s#]{1,512}$")] | UnsetType = UNSET


class Authn(Node, frozen=True):
    """At least one method. A presented invalid credential is 401 even if another one would be valid."""

    api_keys: ApiKeys | UnsetType = UNSET
    jwt: tuple[Jwt, ...] = ()


class AuthzRule(Node, frozen=True):
    """A CEL rule over identity, request and model: exactly one of allow and deny."""

    name: Name
    allow: Expression | UnsetType = UNSET
    deny: Expression | UnsetType = UNSET


class RequestLimit(Node, frozen=True):
    """A token bucket: `rate` refills it, `burst` is its size (default: the rate's number)."""

    per: Literal["key", "tenant", "sidecar"]
    rate: Rate
    burst: Annotated[int, Meta(ge=1, le=10_000_000)] | UnsetType = UNSET


class BodyLimit(Node, frozen=True):
    """Bounds on request bodies, counted after decompression."""

    max: Quantity = "1MiB"
    json_depth: Annotated[int, Meta(ge=1, le=256)] = 32


class Limits(Node, frozen=True):
    """Bounds on what one caller may ask for."""

    requests: tuple[RequestLimit, ...] = ()
    body: BodyLimit = BodyLimit()


class Crs(Node, frozen=True):
    """The OWASP Core Rule Set. Rules of the next paranoia level run in shadow: recorded as strict-<rule>, never blocking."""

    paranoia: Annotated[int, Meta(ge=1, le=4)] = 1
    mode: Literal["block", "detect"] = "block"
    prompt_fields: Literal["skip", "scan"] = "skip"


class Waf(Node, frozen=True):
    """The web application firewall, on requests."""

    crs: Crs = Crs()


class Failure(Node, frozen=True):
    """What happens when a check can't decide: `closed` denies."""

    content: Literal["closed"] = "closed"


class Telemetry(Node, frozen=True):
    """traceSample: the share of requests whose trace is exported. With 0 none is; records keep their trace ids, and
    refusals their spans.
    """

    trace_sample: Annotated[float, Meta(ge=0, le=1)] = 0.1


class ModelPolicySpec(Node, frozen=True):
    """Everything that holds for one model endpoint."""

    selector: Selector
    listener: Listener
    model: Model
    tenants: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=128)], ...], Meta(min_length=1)]
    authn: Authn
    routes: tuple[Route, ...] = ()
    authz: tuple[AuthzRule, ...] = ()
    limits: Limits = Limits()
    input: tuple[InputCheck, ...] = ()
    output: tuple[OutputCheck, ...] = ()
    waf: Waf | UnsetType = UNSET
    failure: Failure = Failure()
    telemetry: Telemetry = Telemetry()
    mode: Literal["enforce", "shadow"] = "enforce"

    @property
    def answers_checked(self) -> bool:
        """Whether answers must be read: for checks, or to put back what a check of the request took out."""
        return bool(self.output) or any(check.restores for check in self.input)


class ModelPolicy(Node, frozen=True):
    """The policy of one model endpoint."""

    api_version: Literal["bartizan.dev/v1alpha1"]
    kind: Literal["ModelPolicy"]
    metadata: Metadata
    spec: ModelPolicySpec

    @property
    def qualified_name(self) -> str:
        """ "<namespace>/<name>", the policy's name everywhere outside the document."""
        return f"{self.metadata.namespace}/{self.metadata.name}"
