"""What was decided about a request or an answer, and why: the cause table with its HTTP statuses."""

from __future__ import annotations

from enum import StrEnum

from sidecar.model.finding import Action, Finding
from sidecar.model.request import Identity
from sidecar.model.value import Value


class Cause(StrEnum):
    """Why: the value is written to audit and metrics. Clients see the status and a general message only."""

    __hash__ = str.__hash__  # enum's own is a Python function, and each request asks several times

    ALLOWED = "allowed"
    # authn
    MISSING_CREDENTIALS = "missing_credentials"
    INVALID_CREDENTIALS = "invalid_credentials"
    EXPIRED_CREDENTIALS = "expired_credentials"
    REVOKED_CREDENTIALS = "revoked_credentials"
    CREDENTIALS_DISAGREE = "credentials_disagree"
    # admission
    RATE_LIMITED = "rate_limited"
    # authz
    TENANT_NOT_ALLOWED = "tenant_not_allowed"
    MODEL_NOT_ALLOWED = "model_not_allowed"
    FORBIDDEN = "forbidden"
    # body
    MALFORMED_BODY = "malformed_body"
    BODY_TOO_LARGE = "body_too_large"
    BODY_TOO_DEEP = "body_too_deep"
    DUPLICATE_KEYS = "duplicate_keys"
    AMBIGUOUS_BODY = "ambiguous_body"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    UNSUPPORTED_ENCODING = "unsupported_encoding"
    QUERY_NOT_ALLOWED = "query_not_allowed"
    VIRTUAL_PATCH = "virtual_patch"
    WAF = "waf"
    WAF_BODY_LIMIT = "waf_body_limit"
    # content
    CONTENT_DENIED = "content_denied"
    ANSWER_DENIED = "answer_denied"
    ANSWER_CUT = "answer_cut"
    ANSWER_MALFORMED = "answer_malformed"
    ANSWER_ENCODED = "answer_encoded"
    ANSWER_TOO_LARGE = "answer_too_large"
    # the model's own status, as ALLOWED
    MODEL_ERROR = "model_error"
    # the guard itself
    NO_POLICY = "no_policy"
    REVISION_UNKNOWN = "revision_unknown"
    CONTEXT_MISSING = "context_missing"
    DEADLINE = "deadline"
    OVERLOADED = "overloaded"
    FAULT = "fault"


STATUS: dict[Cause, int] = {
    Cause.ALLOWED: 200,
    Cause.MISSING_CREDENTIALS: 401,
    Cause.INVALID_CREDENTIALS: 401,
    Cause.EXPIRED_CREDENTIALS: 401,
    Cause.REVOKED_CREDENTIALS: 401,
    Cause.CREDENTIALS_DISAGREE: 401,
    Cause.RATE_LIMITED: 429,
    Cause.TENANT_NOT_ALLOWED: 403,
    Cause.MODEL_NOT_ALLOWED: 403,
    Cause.FORBIDDEN: 403,
    Cause.MALFORMED_BODY: 400,
    Cause.BODY_TOO_LARGE: 413,
    Cause.BODY_TOO_DEEP: 400,
    Cause.DUPLICATE_KEYS: 400,
    Cause.AMBIGUOUS_BODY: 400,
    Cause.UNSUPPORTED_MEDIA_TYPE: 415,
    Cause.UNSUPPORTED_ENCODING: 415,
    Cause.QUERY_NOT_ALLOWED: 400,
    Cause.VIRTUAL_PATCH: 403,
    Cause.WAF: 403,
    Cause.WAF_BODY_LIMIT: 413,
    Cause.CONTENT_DENIED: 403,
    Cause.ANSWER_DENIED: 403,
    Cause.ANSWER_CUT: 200,
    Cause.ANSWER_MALFORMED: 502,
    Cause.ANSWER_ENCODED: 502,
    Cause.ANSWER_TOO_LARGE: 502,
    Cause.MODEL_ERROR: 200,
    Cause.NO_POLICY: 403,
    Cause.REVISION_UNKNOWN: 503,
    Cause.CONTEXT_MISSING: 503,
    Cause.DEADLINE: 503,
    Cause.OVERLOADED: 503,
    Cause.FAULT: 503,
}


class Decision(Value, frozen=True, kw_only=True):
    """The outcome of one phase. `retry_after` in seconds, for 429 and 503."""

    cause: Cause
    action: Action
    findings: tuple[Finding, ...] = ()
    identity: Identity | None = None
    retry_after: float | None = None
    detail: str = ""
    """A rule's name or a constant word for audit; never text of the request, never shown to the client."""

    @property
    def denied(self) -> bool:
        return self.action is Action.DENY

    @property
    def status(self) -> int:
        return STATUS[self.cause]


def allow(identity: Identity | None = None, findings: tuple[Finding, ...] = ()) -> Decision:
    """An allowing decision; its action is the strongest of the findings."""
    if not findings:
        return Decision(cause=Cause.ALLOWED, action=Action.ALLOW, identity=identity)
    action = max(finding.action for finding in findings)
    return Decision(cause=Cause.ALLOWED, action=action, findings=findings, identity=identity)


def deny(
    cause: Cause,
    *,
    identity: Identity | None = None,
    findings: tuple[Finding, ...] = (),
    retry_after: float | None = None,
    detail: str = "",
) -> Decision:
    """A denying decision."""
    return Decision(
        cause=cause,
        action=Action.DENY,
        findings=findings,
        identity=identity,
        retry_after=retry_after,
        detail=detail,
    )
