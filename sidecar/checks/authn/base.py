"""What an authentication method is: presented credentials and verified key material in, an identity or a refusal out.

First phase of a request's way (checks/pipeline.py). Methods are pure; the join rule over several of them is in join.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol, final

from bartizan.policy.keyset import KEY_PREFIX, KeyRecord
from sidecar.model.decision import Cause
from sidecar.model.request import Identity, RequestHead
from sidecar.model.value import Value

if TYPE_CHECKING:
    from joserfc.jwk import ECKey, OKPKey, RSAKey

    PublicKey = RSAKey | ECKey | OKPKey
_BEARER = "bearer "


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What credentials are verified against: one immutable view, replaced as a whole when keys change."""

    api_keys: Mapping[str, Mapping[str, KeyRecord]] = field(default_factory=dict)
    """Set name -> hash of the key -> record."""
    jwks: Mapping[str, Mapping[str, PublicKey]] = field(default_factory=dict)
    """Issuer -> kid -> public key."""


class Presented(Value, frozen=True, kw_only=True):
    """The credentials of one request, sorted by form. `malformed`: something was presented that has no known form."""

    hidden: ClassVar[frozenset[str]] = frozenset({"api_keys", "tokens"})

    api_keys: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()
    malformed: bool = False

    def __bool__(self) -> bool:
        return self.malformed or bool(self.api_keys or self.tokens)


@final
class Refused(Value, frozen=True, kw_only=True):
    """A presented credential is not good. `whose`: to whom it was given, which says nothing of who presents it."""

    cause: Cause
    whose: Identity | None = None


class Authenticator(Protocol):
    """One method of one policy."""

    def authenticate(self, presented: Presented, material: Material, now: float) -> list[Identity | Refused]:
        """One outcome for each presented credential that this method claims; `now` in seconds since the epoch."""


def presented_credentials(head: RequestHead) -> Presented:
    """Find what a request presents. Envoy joins repeated headers with commas, which no credential contains, so a
    repeated header is malformed: it must never be a matter of order which value counts.
    """
    headers = head.headers
    api_keys: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()
    malformed = False
    if "x-api-key" in headers:
        header_key = headers["x-api-key"]
        if "," in header_key or not header_key.startswith(KEY_PREFIX):
            malformed = True
        else:
            api_keys = (header_key,)
    if "authorization" in headers:
        authorization = headers["authorization"]
        scheme, value = authorization[: len(_BEARER)], authorization[len(_BEARER) :].strip(" ")
        if scheme.lower() != _BEARER or "," in value:
            malformed = True
        elif value.startswith(KEY_PREFIX):
            api_keys = (*api_keys, value)
        elif value.count(".") == 2:
            tokens = (value,)
        else:
            malformed = True
    return Presented(api_keys=api_keys, tokens=tokens, malformed=malformed)
