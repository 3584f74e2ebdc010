"""A checked answer leaves without what repeats its text unread, also when no check changed anything."""

from __future__ import annotations

import json
from typing import Literal

import pytest

from bartizan.policy.bundle import GuardModel
from bartizan.policy.checks import Pii
from sidecar.checks.admission.request_rate import Buckets
from sidecar.plan.judge import judge_answer
from sidecar.plan.load import load_plan
from tests.support.guard import guard_plan


@pytest.mark.parametrize(("mode", "token_ids"), [("enforce", None), ("shadow", [101, 7])])
def test_token_ids_leave_a_checked_answer(
    mode: Literal["enforce", "shadow"], token_ids: list[int] | None
) -> None:
    model = GuardModel(name="m", protocol="openai")
    plan = load_plan(guard_plan(model=model, output=(Pii(),), mode=mode), Buckets(clock=lambda: 0.0))
    body = json.dumps({"choices": [{"message": {"content": "hi"}, "token_ids": [101, 7]}]}).encode()
    judged = judge_answer(plan, "/v1/chat/completions", "application/json", 200, body, "d" * 32)
    sent = json.loads(judged.body or body)
    assert sent["choices"][0]["token_ids"] == token_ids
    assert judged.unscanned == (() if mode == "enforce" else ("token_ids",))
