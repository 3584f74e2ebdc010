"""Pods' tokens, checked by the cluster that made them: TokenReview, or the cluster's public keys (JWKS).

Either way the pod itself is looked up: its UID must be the token's, and its labels are what policies select by.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey

from bartizan.errors import DependencyUnavailable, IdentityRefused, NotFound
from control_plane.identity.projected import AUDIENCE, Bound, Pod, bound_pod, from_claims, from_review
from control_plane.kubernetes.api_server import ApiServer

_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
_KEYS, _DISCOVERY = "/openid/v1/jwks", "/.well-known/openid-configuration"
_REGISTRY = jws.JWSRegistry(algorithms=["RS256", "ES256", "ES384", "ES512"])
_KEY_SECONDS = 300.0
_LEAST_SECONDS = 10.0


class ReviewedTokens:
    """TokenReview: the API server judges; a token whose pod or account was deleted is refused at once."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server

    async def pod(self, token: str) -> Pod:
        """Raises IdentityRefused, DependencyUnavailable."""
        answer = await self._server.post(
            _REVIEWS,
            {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenReview",
                "spec": {"token": token, "audiences": [AUDIENCE]},
            },
        )
        bound = from_review(answer.get("status"))
        return bound_pod(bound, await pod_object(self._server, bound.namespace, bound.pod_name))


class VerifiedTokens:
    """JWKS: for control planes that may not create TokenReviews. Keys are asked for again every five minutes."""

    def __init__(self, server: ApiServer, *, clock: Callable[[], float] = time.time) -> None:
        self._server = server
        self._clock = clock
        self._keys: KeySet | None = None
        self._issuer = ""
        self._fetched = float("-inf")
        self._lock = asyncio.Lock()

    async def pod(self, token: str) -> Pod:
        """Raises IdentityRefused, DependencyUnavailable."""
        bound = await self._bound(token)
        return bound_pod(bound, await pod_object(self._server, bound.namespace, bound.pod_name))

    async def _bound(self, token: str) -> Bound:
        keys, fetched = await self._current(_KEY_SECONDS)
        try:
            claims = _verified(token, keys)
        except IdentityRefused:
            # Perhaps by a key that is newer than ours.
            keys, again = await self._current(_LEAST_SECONDS)
            if again == fetched:
                raise
            claims = _verified(token, keys)
        return from_claims(claims, issuer=self._issuer, now=self._clock())

    async def _current(self, age: float) -> tuple[KeySet, float]:
        async with self._lock:
            if self._keys is None or time.monotonic() - self._fetched > age:
                discovery, keys = await self._server.get(_DISCOVERY), await self._server.get(_KEYS)
                try:
                    self._issuer = str(discovery["issuer"])
                    self._keys = KeySet([_key(each) for each in keys["keys"]])
                except (KeyError, TypeError, ValueError, JoseError) as error:
                    raise DependencyUnavailable("the cluster's token keys can't be read") from error
                self._fetched = time.monotonic()
            return self._keys, self._fetched


def _key(jwk: dict[str, Any]) -> RSAKey | ECKey:
    return RSAKey.import_key(jwk) if jwk["kty"] == "RSA" else ECKey.import_key(jwk)


def _verified(token: str, keys: KeySet) -> object:
    try:
        return msgspec.json.decode(jws.deserialize_compact(token, keys, registry=_REGISTRY).payload)
    except (JoseError, ValueError, TypeError, msgspec.MsgspecError) as error:
        raise IdentityRefused("no key of the cluster made this token") from error


async def pod_object(server: ApiServer, namespace: str, name: str) -> dict[str, Any] | None:
    """The pod as the API server has it now; None when there is none. Raises DependencyError."""
    try:
        return await server.get(f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(name, safe='')}")
    except NotFound:
        return None
