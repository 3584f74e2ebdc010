"""What is prompt text in a form that no check reads is refused where input is checked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bartizan.policy.bundle import GuardModel
from bartizan.policy.checks import (
    InputCheck,
    OutputCheck,
    Parameters,
    Pii,
    Probabilities,
    PromptInjection,
    Tools,
)
from bartizan.policy.schema import Protocol, Route
from sidecar.checks.admission.request_rate import Buckets
from sidecar.model.decision import Cause
from sidecar.model.request import Identity, RequestHead
from sidecar.plan.judge import Judgement, judge_answer, judge_request
from sidecar.plan.load import load_plan
from sidecar.plan.plan import Plan
from tests.support.guard import guard_plan

FILE = {"type": "file", "file": {"file_data": "data:text/plain;base64,aGk="}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}


def judged_request(plan: Plan, path: str, body: Any) -> Judgement:
    head = RequestHead(
        stream_id="s",
        method="POST",
        path=path,
        headers={"content-type": "application/json"},
        source_address="127.0.0.1",
    )
    caller = Identity(subject="k1", tenant="acme", method="api_key")
    return judge_request(plan, caller, head, json.dumps(body).encode(), lambda: 0)


def test_a_body_that_its_edits_make_longer_than_the_limit_is_refused() -> None:
    model = GuardModel(name="m", protocol="openai")
    body = {"messages": [{"role": "user", "content": "a@b.co c@d.co e@f.co"}]}
    for more, refused in ((2, True), (3, False)):  # [EMAIL] is a letter longer than each of them
        limited = guard_plan(model=model, input=(Pii(),), max_body_bytes=len(json.dumps(body)) + more)
        plan = load_plan(limited, Buckets(clock=lambda: 0.0))
        judged = judged_request(plan, "/v1/chat/completions", body)
        assert (judged.refusal is not None, judged.body is None) == (refused, refused)
        assert judged.refusal is None or judged.refusal.cause is Cause.BODY_TOO_LARGE


@pytest.mark.parametrize(
    ("part", "detail", "unscanned"),
    [(FILE, "file_data", ("file", "file_data")), (IMAGE, None, ("image_url",))],
)
def test_files_are_refused_and_images_pass_with_their_reason(
    part: Any, detail: str | None, unscanned: tuple[str, ...]
) -> None:
    model = GuardModel(name="m", protocol="openai")
    plan = load_plan(guard_plan(model=model, input=(Pii(),)), Buckets(clock=lambda: 0.0))
    body = {"messages": [{"role": "user", "content": [part]}]}
    judged = judged_request(plan, "/v1/chat/completions", body)
    assert judged.unscanned == unscanned
    if detail is None:
        assert judged.refusal is None
    else:
        assert judged.refusal is not None
        assert (judged.refusal.cause, judged.refusal.detail) == (Cause.MALFORMED_BODY, detail)


TEXT = Route(path="/a", input_text=("$.text",), output_text=("$.text",), output_scores=("$.p",))


@pytest.mark.parametrize(
    ("protocol", "check", "path", "body", "reasons"),
    [
        ("openai", Parameters(n=1), "/v1/completions", {"model": "m", "prompt": "p"}, ("no_text_checks",)),
        ("openai", Pii(), "/v1/completions", {"model": "m", "prompt": "p"}, ()),
        ("json_fields", Pii(), "/a", {"text": "t", "n": 1}, ()),
        ("json_fields", Pii(), "/a", {"text": "t", "more": ["x"]}, ("undeclared_fields",)),
        ("json_fields", Pii(), "/a", {"text": "t", "more": 4111111111111111}, ("undeclared_fields",)),
        ("json_fields", Pii(), "/b", {"text": "t"}, ("undeclared_fields",)),
    ],
)
def test_texts_of_a_request_that_no_check_reads_have_their_reason(
    protocol: Protocol, check: InputCheck, path: str, body: Any, reasons: tuple[str, ...]
) -> None:
    model = GuardModel(name="m", protocol=protocol)
    routes = (TEXT, Route(path="/b")) if protocol == "json_fields" else ()
    plan = load_plan(guard_plan(model=model, input=(check,), routes=routes), Buckets(clock=lambda: 0.0))
    assert judged_request(plan, path, body).unscanned == reasons


@pytest.mark.parametrize(
    ("protocol", "check", "body", "reasons"),
    [
        ("openai", Tools(), {"choices": [{"text": "t"}]}, ("no_text_checks",)),
        ("openai", Pii(), {"choices": [{"text": "t"}]}, ()),
        ("json_fields", Pii(), {"text": "t", "p": 0.5, "more": "x"}, ("undeclared_fields",)),
        ("json_fields", Probabilities(), {"text": "t", "p": 0.5}, ("no_text_checks",)),
    ],
)
def test_texts_of_an_answer_that_no_check_reads_have_their_reason(
    protocol: Protocol, check: OutputCheck, body: Any, reasons: tuple[str, ...]
) -> None:
    model = GuardModel(name="m", protocol=protocol)
    routes = (TEXT,) if protocol == "json_fields" else ()
    plan = load_plan(guard_plan(model=model, output=(check,), routes=routes), Buckets(clock=lambda: 0.0))
    data = json.dumps(body).encode()
    assert judge_answer(plan, "/a", "application/json", 200, data, "d" * 32).unscanned == reasons


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        ("a short text with " + "QUJD" * 30, ()),
        ("QUJD" * 3_000, ("views_bounded",)),
        (" ".join(["harmless"] * 4_000), ("views_bounded",)),
    ],
)
def test_readings_that_a_bound_ended_are_named(text: str, reasons: tuple[str, ...]) -> None:
    model = GuardModel(name="m", protocol="openai")
    plan = load_plan(guard_plan(model=model, input=(PromptInjection(),)), Buckets(clock=lambda: 0.0))
    body = {"messages": [{"role": "user", "content": text}]}
    judged = judged_request(plan, "/v1/chat/completions", body)
    assert (judged.refusal, judged.unscanned) == (None, reasons)
