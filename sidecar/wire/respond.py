"""Decision or fault -> what the client gets: the only place where a refusal's status, headers and body are made."""

from __future__ import annotations

import json
import math

from bartizan.policy import names
from sidecar.formats.base import UNDELIVERED, UNREADABLE
from sidecar.model.decision import STATUS, Cause, Decision
from sidecar.model.value import Value
from sidecar.plan.plan import Plan

MESSAGES: dict[int, str] = {
    400: "The request body could not be read.",
    401: "Valid credentials are required.",
    403: "The request was refused by policy.",
    413: "The request body is too large.",
    415: "The content type or encoding of the request is not supported.",
    429: "Too many requests.",
    502: UNDELIVERED,
    503: "The request could not be checked. Try again later.",
}
_OTHER = "The request was refused."
_OF_CAUSE = {
    Cause.QUERY_NOT_ALLOWED: "This path takes no query.",
    Cause.BODY_TOO_DEEP: "The request body is nested too deeply.",
    Cause.DUPLICATE_KEYS: "The request body has a key twice in one object.",
    Cause.UNSUPPORTED_MEDIA_TYPE: "The content type of the request is not supported.",
    Cause.UNSUPPORTED_ENCODING: "The content encoding of the request is not supported.",
    Cause.CONTENT_DENIED: "The content of the request was refused by policy.",
    Cause.ANSWER_DENIED: "The model's answer was withheld by policy.",
    Cause.ANSWER_CUT: "The model's answer was withheld by policy.",
}
_UNCHECKED = "The request holds content that can't be checked, such as a file or token ids."


class Refusal(Value, frozen=True, kw_only=True):
    """An HTTP answer made by the guard."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def message_for(status: int) -> str:
    """What a client may read: general, never which rule matched."""
    return MESSAGES.get(status, _OTHER)


def _plain_body(status: int, message: str, decision_id: str) -> tuple[str, bytes]:
    """problem+json, for requests that no plan could be found for."""
    problem = {"type": "about:blank", "title": message, "status": status, "decision": decision_id}
    return "application/problem+json", json.dumps(problem, separators=(",", ":")).encode()


def refusal(
    decision: Decision, decision_id: str, plan: Plan | None, *, proof: str = "", status: int | None = None
) -> Refusal:
    """The client's view of a denial. `proof` answers a probe; `status` overrides the cause's own."""
    code = STATUS[decision.cause] if status is None else status
    message = _OF_CAUSE.get(decision.cause) or message_for(code)
    if decision.cause is Cause.MALFORMED_BODY and decision.detail in UNREADABLE:
        message = _UNCHECKED
    if plan is None:
        content_type, body = _plain_body(code, message, decision_id)
    else:
        content_type, body = plan.format.error_body(code, message, decision_id)
    headers = [("content-type", content_type), (names.HEADER_DECISION, decision_id)]
    retry_after = decision.retry_after
    if retry_after is None and code == 503 and decision.cause is not Cause.ALLOWED:
        retry_after = 1.0
    if retry_after is not None:
        headers.append(("retry-after", str(max(1, math.ceil(retry_after)))))
    if code == 401:
        headers.append(("www-authenticate", "Bearer"))
    if proof:
        headers.append((names.HEADER_PROOF, proof))
    return Refusal(status=code, headers=tuple(headers), body=body)
