"""JWTs: only tokens that an issuer of the policy signed with an asymmetric key for this audience, now."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

from bartizan.errors import InvalidInput
from bartizan.policy.schema import Jwt
from sidecar.checks.authn.base import Material, Presented, Refused
from sidecar.checks.authn.jwt import JwtAuthenticator, public_keys
from sidecar.model.decision import Cause
from sidecar.model.request import Identity

NOW = 1_700_000_000.0
ISSUER = "https://idp.example"
EC = ECKey.generate_key("P-256")
RSA = RSAKey.generate_key(2048)
ED = OKPKey.generate_key("Ed25519")
FOREIGN = ECKey.generate_key("P-256")


def jwk(key: Any, kid: str, **extra: str) -> dict[str, Any]:
    return {**key.as_dict(private=False), "kid": kid, **extra}


JWKS = {"keys": [jwk(EC, "ec"), jwk(RSA, "rsa"), jwk(ED, "ed"), jwk(RSA, "pinned", alg="PS256")]}
MATERIAL = Material(jwks={ISSUER: public_keys(JWKS)})
METHOD = JwtAuthenticator(
    issuers={
        ISSUER: Jwt(
            issuer=ISSUER, audiences=("chat",), claims={"tenant": "org", "plan": "plan", "region": "region"}
        )
    }
)
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": "chat",
    "sub": "u1",
    "org": "acme",
    "plan": "gold",
    "region": "eu",
    "exp": NOW + 300,
    "iat": NOW - 10,
}


class Anything(jws.JWSRegistry):
    """Signs what no honest issuer would."""

    def get_alg(self, name: str) -> Any:
        return self.algorithms[name]

    def check_header(self, header: Any) -> None:
        pass


def token(
    claims: dict[str, Any] | None = None, *, key: Any = EC, header: dict[str, Any] | None = None
) -> str:
    full = {"alg": "ES256", "kid": "ec", **(header or {})}
    body = json.dumps(CLAIMS if claims is None else claims).encode()
    return jws.serialize_compact(full, body, key, registry=Anything())


def unsigned(header: dict[str, Any]) -> str:
    parts = (json.dumps(part).encode() for part in (header, CLAIMS))
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + "."


def confused() -> str:
    """A token whose MAC key is the issuer's public key, which everybody knows."""
    text = unsigned({"alg": "HS256", "kid": "rsa"})
    mac = hmac.new(RSA.as_pem(private=False), text[:-1].encode(), hashlib.sha256).digest()
    return text + base64.urlsafe_b64encode(mac).decode().rstrip("=")


def outcome(text: str, now: float = NOW) -> Identity | Refused:
    (result,) = METHOD.authenticate(Presented(tokens=(text,)), MATERIAL, now)
    return result


@pytest.mark.parametrize(
    "text",
    [
        token(),
        token(key=RSA, header={"alg": "RS256", "kid": "rsa"}),
        token(key=RSA, header={"alg": "PS256", "kid": "rsa"}),
        token(key=RSA, header={"alg": "PS256", "kid": "pinned"}),
        token(key=ED, header={"alg": "EdDSA", "kid": "ed"}),
        token(key=ED, header={"alg": "Ed25519", "kid": "ed"}),
        token({**CLAIMS, "aud": ["other", "chat"]}),
        token(header={"typ": "at+jwt", "x5t": "abc"}),
        token({**CLAIMS, "exp": NOW - 59}),
        token({**CLAIMS, "nbf": NOW + 59}),
    ],
)
def test_a_good_token_names_the_caller(text: str) -> None:
    identity = outcome(text)
    assert isinstance(identity, Identity)
    assert (identity.subject, identity.tenant, identity.plan, identity.region, identity.method) == (
        f"{ISSUER}#u1",
        "acme",
        "gold",
        "eu",
        "jwt",
    )


INVALID: dict[str, str] = {
    "alg none": unsigned({"alg": "none", "kid": "ec"}),
    "alg none, other case": unsigned({"alg": "nOnE", "kid": "ec"}),
    "HS256 with the RSA public key as secret": confused(),
    "signed by a stranger under a known kid": token(key=FOREIGN),
    "unknown kid": token(header={"kid": "gone"}),
    "no kid": token(header={"kid": None}),
    "key in the token's own header": token(
        key=FOREIGN, header={"kid": "new", "jwk": FOREIGN.as_dict(private=False)}
    ),
    "algorithm of another key type": unsigned({"alg": "RS256", "kid": "ec"}),
    "algorithm that the key's record forbids": token(key=RSA, header={"alg": "RS256", "kid": "pinned"}),
    "critical extension": token(header={"crit": ["b64"], "b64": True}),
    "unencoded payload": token(header={"b64": True}),
    "token of another kind": token(header={"typ": "logout+jwt"}),
    "other issuer": token({**CLAIMS, "iss": "https://evil.example"}),
    "issuer of another type": token({**CLAIMS, "iss": ["https://idp.example"]}),
    "other audience": token({**CLAIMS, "aud": "admin"}),
    "no audience": token({name: value for name, value in CLAIMS.items() if name != "aud"}),
    "no expiry": token({name: value for name, value in CLAIMS.items() if name != "exp"}),
    "expiry as text": token({**CLAIMS, "exp": "2999"}),
    "expiry beyond reason": token({**CLAIMS, "exp": 10**40}),
    "not yet valid": token({**CLAIMS, "nbf": NOW + 61}),
    "issued in the future": token({**CLAIMS, "iat": NOW + 61}),
    "no subject": token({name: value for name, value in CLAIMS.items() if name != "sub"}),
    "tenant that is no text": token({**CLAIMS, "org": {"a": 1}}),
    "changed payload": ".".join(
        [token().split(".")[0], token({**CLAIMS, "org": "evil"}).split(".")[1], token().split(".")[2]]
    ),
    "no JSON": "a.b.c",
    "too long": token({**CLAIMS, "filler": "x" * 9000}),
    "not ASCII": "é.é.é",
}


@pytest.mark.parametrize("case", sorted(INVALID))
def test_anything_else_is_refused(case: str) -> None:
    assert outcome(INVALID[case]) == Refused(cause=Cause.INVALID_CREDENTIALS)


def test_an_expired_token_is_told_apart() -> None:
    assert outcome(token({**CLAIMS, "exp": NOW - 60})) == Refused(cause=Cause.EXPIRED_CREDENTIALS)


def test_a_missing_claim_leaves_the_attribute_empty() -> None:
    identity = outcome(token({name: value for name, value in CLAIMS.items() if name != "org"}))
    assert isinstance(identity, Identity)
    assert identity.tenant == ""


def test_a_jwk_set_gives_only_public_asymmetric_signing_keys_with_kid() -> None:
    secret = {"kty": "oct", "k": "c2VjcmV0", "kid": "hs"}
    document = {
        "keys": [
            jwk(EC, "ec"),
            secret,
            {**jwk(RSA, "enc"), "use": "enc"},
            RSA.as_dict(private=False),
            {**EC.as_dict(private=True), "kid": "private"},
            {"kty": "EC", "kid": "broken", "crv": "P-256", "x": "!", "y": "!"},
        ]
    }
    keys = public_keys(document)
    assert set(keys) == {"ec", "private"}
    assert not any(key.is_private for key in keys.values())


@pytest.mark.parametrize("document", [{}, {"keys": 1}, {"keys": [jwk(EC, "a"), jwk(RSA, "a")]}])
def test_a_document_that_is_no_jwk_set_is_an_error(document: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        public_keys(document)
