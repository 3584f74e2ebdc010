"""What a plan says of requests with pictures: what goes on in their place, what counts as unseen, what a fault leads to."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest

from bartizan.policy.bundle import GuardModel
from bartizan.policy.checks import Image, Pii
from bartizan.policy.schema import Crs, Protocol
from sidecar.checks.admission.request_rate import Buckets
from sidecar.checks.waf.check import WafCheck
from sidecar.checks.waf.messages import Answer
from sidecar.formats.openai import OpenAIFormat
from sidecar.model.decision import Cause
from sidecar.model.request import Identity, RequestHead
from sidecar.plan.judge import Judgement, judge_request
from sidecar.plan.load import load_plan
from sidecar.plan.plan import Plan
from tests.support.guard import guard_plan
from tests.support.pictures import CANARY, data_url, form, loaded, picture
from tests.unit.sidecar.checks.test_waf import Asked, head

CALLER = Identity(subject="k1", tenant="acme", method="api_key")


def make(protocol: Protocol = "openai", *, mode: str = "enforce", **image: Any) -> Plan:
    model = GuardModel(name="m", protocol=protocol)
    checks = (Image(**image), Pii(types=("email",)))
    return load_plan(guard_plan(model=model, input=checks, mode=mode), Buckets(clock=lambda: 0.0))


def judge(plan: Plan, body: bytes, kind: str = "application/json") -> Judgement:
    headers = {"content-type": kind}
    asked = RequestHead(stream_id="s", method="POST", path="/x", headers=headers, source_address="127.0.0.1")
    return judge_request(plan, CALLER, asked, body, lambda: 0)


def chat(url: str, text: str = "hi") -> bytes:
    parts = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]
    return json.dumps({"messages": [{"role": "user", "content": parts}]}).encode()


def test_texts_and_pictures_of_one_body_are_changed_together() -> None:
    plan = make()
    judged = judge(plan, chat(data_url(loaded("png")), "I am jane@example.org"))
    assert judged.refusal is None
    assert judged.body is not None
    parts = json.loads(judged.body)["messages"][0]["content"]
    assert parts[0]["text"] == "I am [EMAIL]"
    assert CANARY.encode() not in judged.body
    assert judged.unscanned == ()
    assert judged.scanned == len(loaded("png")) + len("I am jane@example.org")
    assert plan.asks_children


def test_pictures_that_are_elsewhere_are_named_as_unseen() -> None:
    judged = judge(make(remote=("cdn.example",)), chat("https://cdn.example/a.png"))
    assert (judged.refusal, judged.body, judged.unscanned) == (None, None, ("image_url",))


def test_shadow_says_what_it_saw_and_changes_nothing() -> None:
    judged = judge(make(mode="shadow"), chat(data_url(loaded("png"))))
    assert judged.body is None
    assert [finding.kind for finding in judged.findings] == ["metadata"]


def test_a_check_that_gets_no_answer_refuses_with_503() -> None:
    plan = make()
    (check,) = plan.input.images
    child = check._asks._process._child  # type: ignore[attr-defined]
    os.kill(child._process.pid, signal.SIGSTOP)
    judged = judge(plan, chat(data_url(picture())))
    assert judged.refusal is not None
    assert (judged.refusal.cause, judged.refusal.status) == (Cause.OVERLOADED, 503)
    assert judged.refusal.retry_after
    assert judged.body is None
    assert judge(plan, chat(data_url(picture()))).refusal is None


def test_normalised_text_that_would_end_a_part_is_refused() -> None:
    from bartizan.policy.checks import Sanitize

    model = GuardModel(name="m", protocol="image")
    plan = load_plan(guard_plan(model=model, input=(Sanitize(),)), Buckets(clock=lambda: 0.0))
    wide = "\uff0d\uff0d" + "".join(chr(ord(char) + 0xFEE0) for char in "----tests7f3a9c21")
    kind, body = form(('"prompt"', f"x\r\n{wide}\r\n".encode()))
    judged = judge(plan, body, kind)
    assert judged.refusal is not None
    assert judged.refusal.cause is Cause.MALFORMED_BODY


@pytest.mark.parametrize("fields", ["skip", "scan"])
def test_the_firewall_is_shown_no_picture(fields: str) -> None:
    asked = Asked(Answer())
    body = chat(data_url(picture(size=(900, 900))) + "A" * 40_000)
    check = WafCheck(Crs(prompt_fields=fields), asked)  # type: ignore[arg-type]
    verdict = check.judge(head(), body, lambda: OpenAIFormat().decode_request("/p", "application/json", body))
    assert verdict.refused == ""
    assert not any("base64" in value for _, value in asked.shown())
