"""JWTs of the policy's issuers: asymmetric signatures only, key chosen by kid from the issuer's own JWKS.

The header of a token decides nothing but which of the issuer's keys and which of our algorithms is tried.
Rules: https://www.rfc-editor.org/rfc/rfc8725 (JWT best current practices).
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from joserfc import jws
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key

from bartizan.errors import InvalidInput
from bartizan.policy.schema import Jwt
from sidecar.checks.authn.base import Material, Presented, Refused
from sidecar.model.decision import Cause
from sidecar.model.request import Identity

if TYPE_CHECKING:
    from sidecar.checks.authn.base import PublicKey

LEEWAY = 60.0
"""Seconds by which clocks may differ."""
_LONGEST = 8192
_ALGORITHMS = {"RS256": "RSA", "PS256": "RSA", "ES256": "EC", "EdDSA": "OKP", "Ed25519": "OKP"}
_CURVES = {"ES256": "P-256", "EdDSA": "Ed25519", "Ed25519": "Ed25519"}
_TYPES = frozenset({"", "jwt", "at+jwt", "application/jwt", "application/at+jwt"})
_SMALLEST_RSA = 2048
_MOST_KEYS = 100
_LATEST = 1e12
_INVALID = Refused(cause=Cause.INVALID_CREDENTIALS)
_EXPIRED = Refused(cause=Cause.EXPIRED_CREDENTIALS)


class _Registry(jws.JWSRegistry):
    """Our algorithms only. EdDSA is the older name of Ed25519 (RFC 9864) that most issuers still write."""

    max_header_length = 4096

    def get_alg(self, name: str) -> Any:
        if name not in _ALGORITHMS:
            raise UnsupportedAlgorithmError("not one of ours")
        return self.algorithms[name]


# IdPs put parameters of their own into headers; those that change meaning (crit) are refused below.
_REGISTRY = _Registry(strict_check_header=False)


def public_keys(document: Mapping[str, Any]) -> dict[str, PublicKey]:
    """The signature keys of a JWK Set by kid. Keys without kid, for encryption, symmetric or too weak are left out.

    Raises InvalidInput when the document is no JWK Set or names one kid twice.
    """
    return {kid: key for kid, (key, _) in _usable(document).items()}


def public_jwks(document: Mapping[str, Any]) -> dict[str, Any]:
    """The same keys as a JWK Set again, for others who verify. Raises as `public_keys`."""
    return {"keys": [entry for _, entry in _usable(document).values()]}


def _usable(document: Mapping[str, Any]) -> dict[str, tuple[PublicKey, dict[str, Any]]]:
    entries = document.get("keys")
    if not isinstance(entries, list) or len(entries) > _MOST_KEYS:
        raise InvalidInput(f'not a JWK Set: expected "keys" with at most {_MOST_KEYS} entries')
    keys: dict[str, tuple[PublicKey, dict[str, Any]]] = {}
    for entry in entries:
        kid = entry.get("kid") if isinstance(entry, dict) else None
        if not isinstance(kid, str) or not kid or entry.get("use", "sig") != "sig":
            continue
        if entry.get("kty") not in {"RSA", "EC", "OKP"}:
            continue
        public = {
            name: value for name, value in entry.items() if name not in {"d", "p", "q", "dp", "dq", "qi"}
        }
        try:
            key = import_key(public)
            weak = isinstance(key, RSAKey) and key.raw_value.key_size < _SMALLEST_RSA
        except (JoseError, ValueError, TypeError, KeyError):
            continue
        if weak or not isinstance(key, (RSAKey, ECKey, OKPKey)):
            continue
        if kid in keys:
            raise InvalidInput("a JWK Set names one kid twice")
        keys[kid] = key, public
    return keys


def _object(text: str) -> dict[str, Any] | None:
    try:
        raw = binascii.a2b_base64(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4))
        value = msgspec.json.decode(raw)
    except (binascii.Error, ValueError, msgspec.MsgspecError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _number(value: object) -> float | None:
    """A NumericDate; None for anything else, absurdly large numbers included."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < _LATEST:
        return None
    return float(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtAuthenticator:
    """Tokens of all issuers of one policy; a token from another issuer is invalid."""

    issuers: Mapping[str, Jwt]

    def authenticate(self, presented: Presented, material: Material, now: float) -> list[Identity | Refused]:
        return [self._one(token, material, now) for token in presented.tokens]

    def _one(self, token: str, material: Material, now: float) -> Identity | Refused:
        if len(token) > _LONGEST or not token.isascii():
            return _INVALID
        head_text, payload_text, _ = token.split(".")
        header, claimed = _object(head_text), _object(payload_text)
        if header is None or claimed is None:
            return _INVALID
        issuer = claimed.get("iss")
        config = self.issuers.get(issuer) if isinstance(issuer, str) else None
        key = self._key(header, material, config)
        if config is None or key is None:
            return _INVALID
        try:
            verified = jws.deserialize_compact(token, key, registry=_REGISTRY)
            claims = msgspec.json.decode(verified.payload)
        except (JoseError, ValueError, TypeError, msgspec.MsgspecError):
            return _INVALID
        return _judge(claims, config, now)

    @staticmethod
    def _key(header: dict[str, Any], material: Material, config: Jwt | None) -> PublicKey | None:
        algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "")
        if config is None or not isinstance(algorithm, str) or not isinstance(kid, str):
            return None
        if algorithm not in _ALGORITHMS or "crit" in header or "b64" in header:
            return None
        if not isinstance(kind, str) or kind.lower() not in _TYPES:
            return None
        key = material.jwks.get(config.issuer, {}).get(kid)
        # The key decides which algorithm is right, never the token alone (RS/HS confusion, curve mixing).
        if key is None or key.key_type != _ALGORITHMS[algorithm]:
            return None
        if key.get("alg", algorithm) != algorithm:
            return None
        if algorithm in _CURVES and key.get("crv") != _CURVES[algorithm]:
            return None
        return key


def _judge(claims: dict[str, Any], config: Jwt, now: float) -> Identity | Refused:
    audience = claims.get("aud")
    audiences = [audience] if isinstance(audience, str) else audience
    if not isinstance(audiences, list) or not any(item in config.audiences for item in audiences):
        return _INVALID
    expires = _number(claims.get("exp"))
    if expires is None:
        return _INVALID
    if now >= expires + LEEWAY:
        return _EXPIRED
    for name in ("nbf", "iat"):
        if name in claims:
            moment = _number(claims[name])
            if moment is None or moment > now + LEEWAY:
                return _INVALID
    values: dict[str, str] = {}
    for attribute in ("subject", "tenant", "plan", "region"):
        claim = config.claims.get(attribute, "sub" if attribute == "subject" else "")
        value = claims.get(claim, "") if claim else ""
        if not isinstance(value, str):
            return _INVALID
        values[attribute] = value
    if not values["subject"]:
        return _INVALID
    return Identity(
        subject=f"{config.issuer}#{values['subject']}",
        tenant=values["tenant"],
        method="jwt",
        plan=values["plan"],
        region=values["region"],
    )
