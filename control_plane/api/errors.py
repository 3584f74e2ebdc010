"""Faults and refusals as problem+json (RFC 9457). A fault that nobody expected says nothing of its inside."""

from __future__ import annotations

import math

import msgspec
from aiohttp import web

from bartizan.api import ProblemDetails, items
from bartizan.errors import (
    BartizanError,
    Conflict,
    DependencyError,
    DependencyUnavailable,
    Forbidden,
    InvalidInput,
    NotFound,
    PolicyInvalid,
    Problem,
)
from control_plane.api.auth import TooManyFailures, Unauthenticated
from control_plane.policies.revisions import PolicyConflict
from control_plane.policies.service import PreconditionFailed

CONTENT_TYPE = "application/problem+json"
_TITLES = {
    400: "Bad request",
    401: "Not authenticated",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    412: "Precondition failed",
    413: "Too large",
    415: "Unsupported media type",
    422: "Invalid",
    429: "Too many failures",
    500: "Internal error",
    502: "A dependency refused",
    503: "A dependency is unavailable",
    504: "Took too long",
}


class BadRequest(BartizanError):
    """The request as such is wrong: `status` 400, 413 or 415."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def problem(
    status: int, code: str, detail: str, request_id: str, problems: tuple[Problem, ...] = ()
) -> web.Response:
    """One problem+json response."""
    body = ProblemDetails(
        type=f"urn:bartizan:problem:{code}",
        title=_TITLES.get(status, "Refused"),
        status=status,
        detail=detail,
        code=code,
        request_id=request_id,
        problems=items(problems),
    )
    return web.Response(status=status, body=msgspec.json.encode(body), content_type=CONTENT_TYPE)


def response_to(error: BaseException, request_id: str) -> web.Response:
    """How an exception is told to the caller."""
    match error:
        case Unauthenticated():
            made = problem(401, "unauthenticated", str(error), request_id)
            made.headers["WWW-Authenticate"] = 'Bearer realm="bartizan"'
            return made
        case TooManyFailures():
            made = problem(429, "too_many_failures", str(error), request_id)
            made.headers["Retry-After"] = str(math.ceil(error.retry_after))
            return made
        case BadRequest():
            return problem(error.status, error.code, str(error), request_id)
        case PolicyInvalid():
            return problem(422, "policy_invalid", error.summary, request_id, error.problems)
        case InvalidInput():
            return problem(422, "invalid_input", error.summary, request_id, error.problems)
        case NotFound():
            return problem(404, "not_found", str(error), request_id)
        case PolicyConflict():
            return problem(409, "policy_conflict", str(error), request_id, error.problems)
        case PreconditionFailed():
            return problem(412, "precondition_failed", str(error), request_id)
        case Conflict():
            return problem(409, "conflict", str(error), request_id)
        case Forbidden():
            return problem(403, "forbidden", str(error), request_id)
        case DependencyUnavailable():
            made = problem(503, "dependency_unavailable", str(error), request_id)
            made.headers["Retry-After"] = str(math.ceil(error.retry_after or 1.0))
            return made
        case DependencyError():
            return problem(502, "dependency_refused", str(error), request_id)
        case TimeoutError():
            return problem(504, "timeout", "the request took too long", request_id)
        case web.HTTPRequestEntityTooLarge():
            return problem(413, "too_large", "the body is larger than allowed", request_id)
        case web.HTTPException():
            code = {404: "not_found", 405: "method_not_allowed"}.get(error.status, "bad_request")
            made = problem(error.status, code, error.reason, request_id)
            if "Allow" in error.headers:
                made.headers["Allow"] = error.headers["Allow"]
            return made
        case _:
            return problem(500, "internal_error", "see the control plane's log", request_id)
