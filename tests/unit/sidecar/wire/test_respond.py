"""What clients get: status by cause, general words, the decision's id, and nothing about which rule matched."""

from __future__ import annotations

import json

import pytest

from sidecar.checks.admission.request_rate import Buckets
from sidecar.model.decision import STATUS, Cause, deny
from sidecar.plan.load import load_plan
from sidecar.wire.respond import refusal
from tests.support.guard import guard_plan

ID = "0123456789abcdef" * 2
PLAN = load_plan(guard_plan(), Buckets(clock=lambda: 0.0))


@pytest.mark.parametrize("with_plan", [True, False])
@pytest.mark.parametrize("cause", [cause for cause in Cause if STATUS[cause] >= 400])
def test_every_refusal_speaks_json_and_names_its_decision_only(cause: Cause, with_plan: bool) -> None:
    refused = refusal(deny(cause, detail="rule-seven"), ID, PLAN if with_plan else None)
    headers = dict(refused.headers)
    assert refused.status == STATUS[cause]
    assert headers["content-type"] == "application/problem+json"
    assert headers["x-bartizan-decision"] == ID
    assert json.loads(refused.body)["decision"] == ID
    assert b"rule-seven" not in refused.body
    assert cause.value.encode() not in refused.body
    assert ("www-authenticate" in headers) == (refused.status == 401)
    assert ("retry-after" in headers) == (refused.status == 503)


@pytest.mark.parametrize(("seconds", "header"), [(0.01, "1"), (1.0, "1"), (1.2, "2"), (90.0, "90")])
def test_retry_after_is_whole_seconds_and_never_too_early(seconds: float, header: str) -> None:
    refused = refusal(deny(Cause.RATE_LIMITED, retry_after=seconds), ID, PLAN)
    assert dict(refused.headers)["retry-after"] == header


@pytest.mark.parametrize(
    ("cause", "detail", "said"),
    [
        (Cause.MALFORMED_BODY, "not valid JSON", "The request body could not be read."),
        (Cause.MALFORMED_BODY, "file_data", "can't be checked"),
        (Cause.BODY_TOO_DEEP, "nested deeper than 32", "nested too deeply"),
        (Cause.DUPLICATE_KEYS, "", "a key twice"),
        (Cause.UNSUPPORTED_MEDIA_TYPE, "", "content type"),
        (Cause.UNSUPPORTED_ENCODING, "", "content encoding"),
        (Cause.TENANT_NOT_ALLOWED, "", "The request was refused"),
        (Cause.CONTENT_DENIED, "", "The content of the request"),
        (Cause.ANSWER_DENIED, "", "The model's answer was withheld"),
    ],
)
def test_what_a_caller_can_mend_is_said_and_whose_text_was_refused(
    cause: Cause, detail: str, said: str
) -> None:
    refused = refusal(deny(cause, detail=detail), ID, PLAN)
    assert said in json.loads(refused.body)["detail"]
