"""AdmissionReview v1 between bytes and values: what the API server asks, and what it is told. Pure.

https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#webhook-request-and-response
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from bartizan.errors import InvalidInput, Problem
from control_plane.injector.json_patch import Operation

API_VERSION: Final = "admission.k8s.io/v1"
KIND: Final = "AdmissionReview"
_LONGEST_MESSAGE: Final = 4096
_LONGEST_WARNING: Final = 250


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """What the object is one of: "pods", "modelpolicies"."""

    group: str = ""
    resource: str = ""


class User(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks. It matters for connections into pods alone."""

    username: str = ""
    groups: list[str] = []


class Request(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """As far as we look at it."""

    uid: str
    operation: str = ""
    namespace: str = ""
    name: str = ""
    resource: Resource = Resource()
    sub_resource: str = ""
    user_info: User = User()
    object: Any = None
    old_object: Any = None

    def for_rules(self) -> dict[str, Any]:
        """`request` as admission rules know it."""
        user = {"username": self.user_info.username, "groups": self.user_info.groups}
        return {"operation": self.operation, "subResource": self.sub_resource, "userInfo": user}


class _Review(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    api_version: str
    kind: str
    request: Request


class _Status(msgspec.Struct, frozen=True, kw_only=True):
    message: str
    reason: str
    code: int


class _Response(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    uid: str
    allowed: bool
    status: _Status | None = None
    patch: str = ""
    patch_type: str = ""
    warnings: tuple[str, ...] = ()


class _Answer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    api_version: str
    kind: str
    response: _Response


def read_review(body: bytes) -> Request:
    """Raises InvalidInput for anything but an AdmissionReview with a request."""
    try:
        review = msgspec.json.decode(body, type=_Review)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _refused(str(error)[:300] or type(error).__name__) from None
    if (review.api_version, review.kind) != (API_VERSION, KIND):
        raise _refused(
            f"expected {KIND} of {API_VERSION}, got {review.kind[:64]} of {review.api_version[:64]}"
        )
    if not review.request.uid:
        raise _refused("request.uid is empty")
    return review.request


def allowed(request: Request, operations: Sequence[Operation] = (), warnings: Sequence[str] = ()) -> bytes:
    """The answer that lets the object in, changed by a patch where there is one."""
    response = _Response(uid=request.uid, allowed=True, warnings=_warnings(warnings))
    if operations:
        patch = base64.b64encode(msgspec.json.encode(tuple(operations))).decode()
        response = msgspec.structs.replace(response, patch=patch, patch_type="JSONPatch")
    return _encoded(response)


def denied(request: Request, problems: Sequence[Problem], *, code: int = 403) -> bytes:
    """The answer that refuses, with every reason. code: 403 for what the object says, 503 for what we could not find out."""
    lines = [
        f"{each.path or '(object)'}: {each.message}{f' ({each.hint})' if each.hint else ''} [{each.code}]"
        for each in problems
    ]
    message = "; ".join(lines)
    if len(message) > _LONGEST_MESSAGE:
        message = message[: _LONGEST_MESSAGE - 1] + "…"
    reason = "Forbidden" if code == 403 else "ServiceUnavailable"
    return _encoded(
        _Response(uid=request.uid, allowed=False, status=_Status(message=message, reason=reason, code=code))
    )


def _warnings(given: Sequence[str]) -> tuple[str, ...]:
    return tuple(each[:_LONGEST_WARNING] for each in given)


def _encoded(response: _Response) -> bytes:
    return msgspec.json.encode(_Answer(api_version=API_VERSION, kind=KIND, response=response))


def _refused(message: str) -> InvalidInput:
    return InvalidInput(
        "not an AdmissionReview", [Problem(path="(body)", code="invalid_review", message=message)]
    )
