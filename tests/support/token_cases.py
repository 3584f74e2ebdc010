"""What callers may present as a token, and the status that each must have, whoever judges it."""

from __future__ import annotations

import time
from typing import Any

from cryptography.hazmat.primitives import hashes

from tests.support.tokens import AUDIENCE, Issuer

Headers = list[tuple[str, str]]


def bearer(token: str, scheme: str = "Bearer ") -> Headers:
    return [("authorization", f"{scheme}{token}")]


def cases(issuer: Issuer, key: str) -> dict[str, tuple[Headers, int]]:
    """What is presented, and the status that it must have. `key`: a good API key, where none is asked for."""
    now, signed = int(time.time()), issuer.signed
    good = signed()
    named = {
        kind: (bearer(issuer.token(kind)), 401)
        for kind in (
            *("expired", "not_yet_valid", "no_expiry", "wrong_audience", "wrong_issuer", "unknown_kid"),
            *("no_kid", "own_key_in_header", "none", "None", "hs_confusion", "critical", "foreign_key"),
            "tampered",
        )
    }
    headers: dict[str, tuple[dict[str, Any], int]] = {
        "empty crit": ({"crit": []}, 401),
        "b64": ({"b64": True}, 401),
        "null crit": ({"crit": 0}, 401),
        "empty kid": ({"kid": ""}, 401),
        "number kid": ({"kid": 1}, 401),
        "no typ": ({"typ": None}, 200),
        "access token": ({"typ": "at+jwt"}, 200),
        "odd spelling": ({"typ": "Application/JWT"}, 200),
        "other typ": ({"typ": "dpop+jwt"}, 401),
        "number typ": ({"typ": 7}, 401),
        "long header": ({"jku": "https://evil.example/" + "a" * 2900}, 200),
        "too long header": ({"jku": "https://evil.example/" + "a" * 4000}, 401),
    }
    claims: dict[str, tuple[dict[str, Any], int]] = {
        "tenant not listed": ({"org": "evil"}, 403),
        "second tenant": ({"org": "globex"}, 200),
        "no tenant": ({"org": None}, 403),
        "tenants": ({"org": ["acme"]}, 401),
        "no subject": ({"sub": None}, 401),
        "empty subject": ({"sub": ""}, 401),
        "number subject": ({"sub": 1}, 401),
        "plan": ({"plan": "gold"}, 200),
        "number plan": ({"plan": 1}, 401),
        "just expired": ({"exp": now - 5}, 200),  # for most of a minute
        "expired a minute ago": ({"exp": now - 62}, 401),
        "expiry as text": ({"exp": str(now + 600)}, 401),
        "expiry far away": ({"exp": 10**13}, 401),
        "fractional expiry": ({"exp": now + 600.5}, 200),
        "soon valid": ({"nbf": now + 30}, 200),
        "issued soon": ({"iat": now + 30}, 200),
        "issued much later": ({"iat": now + 600}, 401),
        "issued as text": ({"iat": "now"}, 401),
        "no audience": ({"aud": None}, 401),
        "audiences": ({"aud": ["x", AUDIENCE]}, 200),
        "other audiences": ({"aud": ["x", "y"]}, 401),
        "audience as object": ({"aud": {AUDIENCE: 1}}, 401),
        "audience without its slash": ({"aud": "https://other.example"}, 401),
        "audience of http": ({"aud": "http://other.example/"}, 401),
        "issuer with a slash": ({"iss": issuer.url + "/"}, 401),
    }
    return {
        "nothing": ([], 401),
        "good": (bearer(good), 200),
        **named,
        **{name: (bearer(signed(header=said)), status) for name, (said, status) in headers.items()},
        **{name: (bearer(signed(claims=said)), status) for name, (said, status) in claims.items()},
        "RS384": (bearer(signed(header={"alg": "RS384"}, digest=hashes.SHA384())), 401),
        "lower scheme": (bearer(good, "bearer "), 200),
        "spaces": (bearer(good, "Bearer   "), 200),
        "no scheme": (bearer(good, ""), 401),
        "other scheme": (bearer(good, "Basic Bearer "), 401),
        "something behind": (bearer(good + " x"), 401),
        "two in one": (bearer(f"{good}, Bearer {good}"), 401),
        "garbage": (bearer("a.b.c"), 401),
        "no token": (bearer(""), 401),
        "four parts": (bearer(good + ".x"), 401),
        "header twice": ([*bearer(good), *bearer(good)], 401),
        "with a key": ([*bearer(good), ("x-api-key", key)], 401),
        "with an empty key": ([*bearer(good), ("x-api-key", "")], 401),
        "a claimed verdict": ([("x-bartizan-token", "allowed"), ("x-envoy-auth", "1")], 401),
    }


NATIVE = (
    "good",
    "no typ",
    "access token",
    "second tenant",
    "plan",
    "just expired",
    "soon valid",
    "issued soon",
)
"""Those that Envoy lets in without asking the guard, where a policy needs no guard."""
