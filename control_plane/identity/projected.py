"""Which pod is behind a projected service-account token? Pure: what the API server (or its keys) says, judged.

A token counts only if it is for our audience and bound to a pod that exists now with this very UID. Identity and
labels come from the API server; the sidecar is asked nothing.
https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from bartizan.errors import IdentityRefused

AUDIENCE = "bartizan"
LONGEST_TOKEN = 8192
LEEWAY = 10.0
"""Seconds by which clocks may differ where we judge a token's times ourselves."""
_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_ACCOUNT = re.compile(r"system:serviceaccount:([a-z0-9-]{1,63}):([a-z0-9.-]{1,253})", re.ASCII)
_POD_NAME, _POD_UID = "authentication.kubernetes.io/pod-name", "authentication.kubernetes.io/pod-uid"
_ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What a good token says: whose it is, and for which pod it was made."""

    namespace: str
    service_account: str
    pod_name: str
    pod_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """The pod that a token is bound to, as the API server has it."""

    bound: Bound
    labels: Mapping[str, str]


class PodTokens(Protocol):
    """Looks up the pod behind a token; control_plane/kubernetes/attestation.py is the one that asks a cluster."""

    async def pod(self, token: str) -> Pod:
        """Raises IdentityRefused, DependencyUnavailable."""
        ...


def check_shape(token: str) -> None:
    """What no API server need be asked for. Raises IdentityRefused."""
    if len(token) > LONGEST_TOKEN or _SHAPE.fullmatch(token) is None:
        raise IdentityRefused("not a Kubernetes token")


class _User(msgspec.Struct, frozen=True):
    username: str = ""
    extra: dict[str, list[str]] = {}


class _Review(msgspec.Struct, frozen=True):
    authenticated: bool = False
    audiences: list[str] = []
    user: _User = _User()


def from_review(status: object) -> Bound:
    """What a TokenReview's status says. Raises IdentityRefused."""
    try:
        review = msgspec.convert(status, _Review)
    except msgspec.ValidationError as error:
        raise IdentityRefused("the API server's review of the token can't be read") from error
    if not review.authenticated:
        raise IdentityRefused("the API server does not accept the token")
    # An API server that does not know audiences leaves them out, and may have accepted any token at all.
    if AUDIENCE not in review.audiences:
        raise IdentityRefused(f"the token is not for the audience {AUDIENCE}")
    account = _ACCOUNT.fullmatch(review.user.username)
    names, uids = review.user.extra.get(_POD_NAME, []), review.user.extra.get(_POD_UID, [])
    if account is None:
        raise IdentityRefused("the token is not a service account's")
    if len(names) != 1 or len(uids) != 1:
        raise IdentityRefused("the token is not bound to a pod")
    return Bound(namespace=account[1], service_account=account[2], pod_name=names[0], pod_uid=uids[0])


class _Named(msgspec.Struct, frozen=True):
    name: str
    uid: str


class _Kubernetes(msgspec.Struct, frozen=True):
    namespace: str
    serviceaccount: _Named
    pod: _Named | None = None


class _Claims(msgspec.Struct, frozen=True, rename={"kubernetes": "kubernetes.io"}):
    iss: str
    aud: list[str] | str
    exp: float
    sub: str
    kubernetes: _Kubernetes
    nbf: float = 0.0


def from_claims(claims: object, *, issuer: str, now: float) -> Bound:
    """What the claims of a token say whose signature is good. Raises IdentityRefused."""
    try:
        said = msgspec.convert(claims, _Claims)
    except msgspec.ValidationError as error:
        raise IdentityRefused("the token is no service account's") from error
    audiences = [said.aud] if isinstance(said.aud, str) else said.aud
    if said.iss != issuer:
        raise IdentityRefused("the token is of another issuer")
    if AUDIENCE not in audiences:
        raise IdentityRefused(f"the token is not for the audience {AUDIENCE}")
    if not said.nbf - LEEWAY <= now < said.exp + LEEWAY:
        raise IdentityRefused("the token is expired or not valid yet")
    account, pod = said.kubernetes.serviceaccount, said.kubernetes.pod
    if said.sub != f"system:serviceaccount:{said.kubernetes.namespace}:{account.name}":
        raise IdentityRefused("the token contradicts itself")
    if pod is None:
        raise IdentityRefused("the token is not bound to a pod")
    return Bound(
        namespace=said.kubernetes.namespace,
        service_account=account.name,
        pod_name=pod.name,
        pod_uid=pod.uid,
    )


class _PodMetadata(msgspec.Struct, frozen=True):
    uid: str
    labels: dict[str, str] = {}


class _PodSpec(msgspec.Struct, frozen=True, rename="camel"):
    service_account_name: str = "default"


class _PodStatus(msgspec.Struct, frozen=True):
    phase: str = ""


class _PodObject(msgspec.Struct, frozen=True):
    metadata: _PodMetadata
    spec: _PodSpec
    status: _PodStatus = _PodStatus()


def bound_pod(bound: Bound, pod: Mapping[str, Any] | None) -> Pod:
    """The pod, if it is the one that the token was made for and still runs. None: there is no pod of that name.

    Raises IdentityRefused.
    """
    if pod is None:
        raise IdentityRefused("the token's pod is gone")
    try:
        found = msgspec.convert(pod, _PodObject)
    except msgspec.ValidationError as error:
        raise IdentityRefused("the API server's answer about the token's pod can't be read") from error
    if found.metadata.uid != bound.pod_uid:
        raise IdentityRefused("the token's pod is gone; another one has its name")
    if found.spec.service_account_name != bound.service_account:
        raise IdentityRefused("the token's pod runs under another service account")
    if found.status.phase in _ENDED:
        raise IdentityRefused("the token's pod has ended")
    return Pod(bound=bound, labels=found.metadata.labels)


def is_gone(pod: Mapping[str, Any] | None, uid: str) -> bool:
    """Whether the pod with this UID exists no longer, or has ended: its sidecar can't come back."""
    if pod is None:
        return True
    metadata, status = pod.get("metadata") or {}, pod.get("status") or {}
    return metadata.get("uid") != uid or status.get("phase") in _ENDED
