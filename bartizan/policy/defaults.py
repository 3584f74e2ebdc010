"""Every default of the policy language under a name, so that compile, docs and tests mean the same one.

The values stand in the schema's types (one truth); what a type can't say, such as the burst of a rate, is here.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from msgspec import UNSET

from bartizan.policy.checks import InputCheck, Pii, PromptInjection, Sanitize, Secrets
from bartizan.policy.quantities import parse_bytes, rate_number
from bartizan.policy.schema import BodyLimit, RequestLimit, Telemetry

NAMESPACE: Final = "default"
LISTENER_ADDRESS: Final = "0.0.0.0"
LISTENER_PORT: Final = 8443
MODEL_PORT: Final = 8000
CREDENTIAL_HEADER: Final = "authorization"
ROUTE_METHOD: Final = "POST"
BODY_MAX: Final = BodyLimit().max
BODY_MAX_BYTES: Final = parse_bytes(BODY_MAX)
JSON_DEPTH: Final = BodyLimit().json_depth
TRACE_SAMPLE: Final = Telemetry().trace_sample

Checks: TypeAlias = tuple[InputCheck, ...]
CHECKS: Final[Checks] = (Sanitize(), PromptInjection(), Secrets(), Pii())
"""Every check of a request's text with its defaults: what `bartizan scan` judges by when no policy is given."""

BODY_MAX_CEILING: Final = 64 * 1024 * 1024
"""No policy may ask for larger bodies: Envoy and the guard hold each one in memory while it is judged."""


def burst(limit: RequestLimit) -> int:
    """The bucket's size: as written, else the rate's number (so "50/s" lets 50 requests come at once)."""
    return rate_number(limit.rate) if limit.burst is UNSET else limit.burst
