"""The one join rule over authentication methods: every presented credential must be good, and all name one caller."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from sidecar.checks.authn.base import Authenticator, Material, Presented, Refused
from sidecar.model.decision import Cause
from sidecar.model.request import Identity

_INVALID, _MISSING, _DISAGREE = (
    Refused(cause=cause)
    for cause in (Cause.INVALID_CREDENTIALS, Cause.MISSING_CREDENTIALS, Cause.CREDENTIALS_DISAGREE)
)


def authenticate(
    presented: Presented, methods: Sequence[Authenticator], material: Material, now: float
) -> Identity | Refused:
    """The caller, or why not. A presented invalid credential is refused even if another one would be valid."""
    if presented.malformed:
        return _INVALID
    expected = len(presented.api_keys) + len(presented.tokens)
    if not expected:
        return _MISSING
    if expected == len(methods) == 1:  # as nearly always
        outcomes = methods[0].authenticate(presented, material, now)
        return outcomes[0] if outcomes else _INVALID
    identities: list[Identity] = []
    for method in methods:
        for outcome in method.authenticate(presented, material, now):
            if type(outcome) is Refused:  # isinstance asks the metaclass of a Struct, at five times the cost
                return outcome
            identities.append(outcome)
    if len(identities) != expected:
        # A form of credential that this policy does not take was presented.
        return _INVALID
    first = identities[0]
    if expected == 1:
        return first
    for other in identities[1:]:
        joined = _join(first, other)
        if joined is None:
            return _DISAGREE
        first = joined
    return first


def _join(one: Identity, other: Identity) -> Identity | None:
    """An API key has no subject beside its id, so key and token agree by tenant, plan and region; the token then
    names the subject and the key its limits and models. Two of one kind must be the same.
    """
    if one.method == other.method:
        return one if one == other else None
    key, token = (one, other) if one.method == "api_key" else (other, one)
    if key.tenant != token.tenant:
        return None
    for mine, theirs in ((key.plan, token.plan), (key.region, token.region)):
        if mine and theirs and mine != theirs:
            return None
    return msgspec.structs.replace(
        token,
        key_id=key.key_id,
        models=key.models,
        plan=token.plan or key.plan,
        region=token.region or key.region,
    )
