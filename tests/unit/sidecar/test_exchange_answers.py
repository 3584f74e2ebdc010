"""Answers of an exchange: nothing leaks whatever the split, and what can't be read is not let out."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bartizan.errors import ProtocolViolation
from bartizan.policy.checks import Canary, Pii, Secrets
from sidecar import exchange as tested
from sidecar.checks.content import MAX_TEXTS
from sidecar.model.decision import Cause
from sidecar.model.events import (
    AnswerData,
    AnswerHeaders,
    PassAnswerHeaders,
    PassAnswerTrailers,
    Refuse,
    RequestHeaders,
)
from sidecar.model.finding import Action
from sidecar.plan.judge import ERROR_REPLACED
from tests.support.exchanges import (
    CANARY,
    JSON,
    SSE,
    answer,
    chat_plan,
    chat_request,
    exchange,
    plan,
    play,
    request,
    sent,
)


def sse(*words: str) -> bytes:
    events = [
        {"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]} for word in words
    ]
    return b"".join(f"data: {json.dumps(item)}\n\n".encode() for item in events) + b"data: [DONE]\n\n"


@settings(deadline=None)
@given(st.lists(st.integers(min_value=0, max_value=200), max_size=8), st.booleans())
def test_a_withheld_answer_is_all_or_nothing(cuts: list[int], trailers: bool) -> None:
    leak = json.dumps({"echo": f"x {CANARY} y", "scores": []}).encode()
    on = exchange(plan())
    replies = play(on, [*request(), *answer(leak, cuts, trailers=trailers)])
    assert isinstance(replies[-1], Refuse)
    assert not sent(replies)
    assert on.decision.cause is Cause.ANSWER_DENIED

    clean = json.dumps({"echo": "fine", "scores": []}).encode()
    on = exchange(plan())
    replies = play(on, [*request(), *answer(clean, cuts, trailers=trailers)])
    assert sent(replies) == clean
    assert on.complete
    assert isinstance(replies[-1], PassAnswerTrailers) is trailers


@settings(deadline=None)
@given(
    st.lists(st.integers(min_value=0, max_value=2000), max_size=12), st.integers(min_value=1, max_value=14)
)
def test_a_canary_never_leaves_a_stream_however_it_is_split(cuts: list[int], inside: int) -> None:
    body = sse("fine text first ", CANARY[:inside], CANARY[inside:], " after")
    on = exchange(chat_plan())
    replies = play(on, [*chat_request(), *answer(body, cuts, headers=SSE)])
    out = sent(replies)
    text = "".join(
        json.loads(line[6:])["choices"][0]["delta"].get("content", "")
        for line in out.decode().splitlines()
        if line.startswith("data: {") and "choices" in line
    )
    assert "canary-7f3a9c21" not in text
    assert text.startswith("fine text first ")
    ends = [reply.end for reply in replies if isinstance(reply, AnswerData)]
    assert ends.count(True) == 1
    assert ends[-1]
    assert [reply.cut for reply in replies if isinstance(reply, AnswerData)] == ends
    assert (on.decision.cause, on.decision.action) == (Cause.ANSWER_CUT, Action.CUT)


def test_no_pattern_is_compiled_while_a_client_waits_for_its_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    token = f"loud-{CANARY}"  # of no other test: patterns are kept
    on = exchange(chat_plan(output=(Canary(tokens=(token,)), Secrets(), Pii())))
    play(on, chat_request())
    made: list[str] = []
    compiles = re._compiler.compile  # type: ignore[attr-defined]

    def compiled(pattern: str, flags: int = 0) -> Any:
        made.append(pattern)
        return compiles(pattern, flags)

    monkeypatch.setattr("re._compiler.compile", compiled)
    play(on, answer(sse("fine text first ", "and more"), headers=SSE))
    assert on.complete
    assert made == []


def test_an_answer_that_never_ends_is_refused_at_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tested, "MAX_ANSWER", 10)
    on = exchange(plan())
    replies = play(on, [*request(), *answer(b"x" * 11)])
    assert isinstance(replies[-1], Refuse)
    assert replies[-1].decision.cause is Cause.ANSWER_TOO_LARGE
    assert not on.held


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "text/html", "text/event-stream"])
def test_an_unreadable_error_keeps_its_status_and_loses_its_body(kind: str) -> None:
    on = exchange(plan())
    replies = play(on, [*request(), *answer(b"\xff Traceback", status=500, headers={"content-type": kind})])
    assert b"Traceback" not in sent(replies)
    assert on.decision.findings == (replace(ERROR_REPLACED, direction="response"),)
    assert (on.decision.cause, on.decision.action) == (Cause.MODEL_ERROR, Action.REDACT)
    assert PassAnswerHeaders(content_type="application/problem+json") in replies
    assert on.status == 500


def test_an_error_of_another_type_is_replaced_before_it_ends_and_passes_in_shadow() -> None:
    endless = [*request(), *answer(b"Traceback", status=500, headers={"content-type": "text/plain"})[:2]]
    enforcing, shadow = exchange(plan()), exchange(plan(mode="shadow"))
    assert b"Traceback" not in sent(play(enforcing, endless))
    assert enforcing.complete
    assert sent(play(shadow, endless)) == b"Traceback"
    assert (shadow.shadowed, shadow.decision.findings) == (True, enforcing.decision.findings)


def test_large_answers_go_out_in_pieces_that_envoy_takes() -> None:
    body = json.dumps({"echo": "a" * 200_000, "scores": []}).encode()
    replies = play(exchange(plan()), [*request(), *answer(body)])
    pieces = [reply for reply in replies if isinstance(reply, AnswerData)]
    assert max(len(piece.data) for piece in pieces) <= 64 * 1024
    assert [piece.end for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert sent(replies) == body


def test_a_fault_while_an_answer_is_withheld_refuses_it() -> None:
    on = exchange(plan())
    play(on, [*request(), AnswerHeaders(status=200, headers=JSON, end=False)])
    (refused,) = on.give_up(Cause.DEADLINE)
    assert isinstance(refused, Refuse)
    assert (on.complete, on.status) == (True, 503)


def test_an_answer_before_the_body_was_judged_is_a_fault() -> None:
    on = exchange(plan())
    on.take(request()[0])
    with pytest.raises(ProtocolViolation):
        on.take(AnswerHeaders(status=200, headers=JSON, end=False))


@pytest.mark.parametrize(
    ("status", "cause"), [(413, Cause.BODY_TOO_LARGE), (408, Cause.DEADLINE), (500, Cause.FAULT)]
)
def test_an_error_of_envoy_before_the_body_was_judged_keeps_its_status(status: int, cause: Cause) -> None:
    on = exchange(plan())
    on.take(request()[0])
    (refused,) = on.take(AnswerHeaders(status=status, headers={}, end=False))
    assert isinstance(refused, Refuse)
    assert (refused.status, refused.decision.cause, on.status) == (status, cause, status)
    assert on.complete


@pytest.mark.parametrize(("status", "replies"), [(200, Cause.ANSWER_TOO_LARGE), (500, Cause.MODEL_ERROR)])
def test_an_answer_of_more_texts_than_are_inspected_is_not_let_out(status: int, replies: Cause) -> None:
    choices = [{"message": {"content": "private"}}] * (MAX_TEXTS + 1)
    on = exchange(chat_plan())
    said = play(on, [*chat_request(), *answer(json.dumps({"choices": choices}).encode(), status=status)])
    assert b"private" not in sent(said)
    assert on.decision.cause is replies


def test_a_canary_in_an_answer_of_unknown_shape_is_not_let_out() -> None:
    on = exchange(chat_plan())
    head = RequestHeaders(method="GET", path="/v1/models", headers={}, end=True)
    body = json.dumps({"object": "list", "data": [{"id": f"m-{CANARY}"}]}).encode()
    replies = play(on, [head, *answer(body)])
    assert isinstance(replies[-1], Refuse)
    assert on.decision.cause is Cause.ANSWER_DENIED


@pytest.mark.parametrize("before", ["", "one word after another " * 200], ids=["short", "long"])
@pytest.mark.parametrize("shadow", [False, True])
@pytest.mark.parametrize("action", ["flag", "redact", "cut"])
def test_headers_of_an_answer_are_read_by_canaries(action: str, shadow: bool, before: str) -> None:
    checks = (Canary(tokens=(CANARY,), action=action),)  # type: ignore[arg-type]
    on = exchange(plan(output=checks, mode="shadow" if shadow else "enforce"))
    clean = json.dumps({"echo": "fine", "scores": []}).encode()
    events = answer(clean, headers={**JSON, "x-used": f"{before}the word {CANARY}", "x-kept": "fine"})
    replies = play(on, [*request(), *events])
    refused = isinstance(replies[-1], Refuse)
    assert refused is (action == "cut" and not shadow)
    passed = [reply for reply in replies if isinstance(reply, PassAnswerHeaders)]
    taken = ("x-used",) if action == "redact" and not shadow else ()
    assert [reply.without for reply in passed] == [taken] * (not refused)
    assert [finding.location for finding in on.trail.findings] == ["headers.x-used"]
    assert on.shadowed is (shadow and action != "flag")


def test_an_answer_whose_type_holds_a_canary_is_refused_since_nobody_could_read_it_without() -> None:
    on = exchange(plan(output=(Canary(tokens=(CANARY,), action="redact"),)))
    events = answer(b"{}", headers={"content-type": f"application/json; a={CANARY}"})
    assert isinstance(play(on, [*request(), *events])[-1], Refuse)
    assert on.decision.cause is Cause.ANSWER_DENIED
