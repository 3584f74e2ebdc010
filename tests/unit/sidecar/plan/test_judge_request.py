"""What is prompt text in a form that no check reads is refused where input is checked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bartizan.policy.bundle import GuardModel
from bartizan.policy.checks import Pii
from sidecar.checks.admission.request_rate import Buckets
from sidecar.model.decision import Cause
from sidecar.model.request import Identity, RequestHead
from sidecar.plan.judge import judge_request
from sidecar.plan.load import load_plan
from tests.support.guard import guard_plan

FILE = {"type": "file", "file": {"file_data": "data:text/plain;base64,aGk="}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}


@pytest.mark.parametrize(
    ("part", "detail", "unscanned"),
    [(FILE, "file_data", ("file", "file_data")), (IMAGE, None, ("image_url",))],
)
def test_files_are_refused_and_images_pass_with_their_reason(
    part: Any, detail: str | None, unscanned: tuple[str, ...]
) -> None:
    model = GuardModel(name="m", protocol="openai")
    plan = load_plan(guard_plan(model=model, input=(Pii(),)), Buckets(clock=lambda: 0.0))
    headers = {"content-type": "application/json"}
    head = RequestHead(
        stream_id="s", method="POST", path="/v1/chat/completions", headers=headers, source_address="127.0.0.1"
    )
    caller = Identity(subject="k1", tenant="acme", method="api_key")
    body = json.dumps({"messages": [{"role": "user", "content": [part]}]}).encode()
    judged = judge_request(plan, caller, head, body, lambda: 0)
    assert judged.unscanned == unscanned
    if detail is None:
        assert judged.refusal is None
    else:
        assert judged.refusal is not None
        assert (judged.refusal.cause, judged.refusal.detail) == (Cause.MALFORMED_BODY, detail)
