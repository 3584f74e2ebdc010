"""The exchange: what may follow what, what becomes of its text, and that only its end is an end."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bartizan.errors import ProtocolViolation
from bartizan.policy.checks import Pii
from bartizan.policy.schema import AuthzRule
from sidecar.model.decision import Cause
from sidecar.model.events import (
    AnswerBody,
    AnswerData,
    AnswerHeaders,
    AnswerTrailers,
    Event,
    PassAnswerHeaders,
    PassRequestBody,
    PassRequestHeaders,
    Refuse,
    RequestBody,
    RequestHeaders,
)
from sidecar.model.finding import Action
from tests.support.exchanges import CANARY, JSON, SSE, answer, exchange, plan, play, request, sent


def test_a_clean_exchange_passes_byte_for_byte() -> None:
    on = exchange(plan())
    body = b'{"echo": "hi",  "scores": [0.5]}'
    replies = play(on, [*request(), *answer(body)])
    assert replies == [
        PassRequestHeaders(inspect_answer=True),
        PassRequestBody(),
        PassAnswerHeaders(),
        AnswerData(data=body, end=True),
    ]
    assert on.complete
    assert (on.decision.cause, on.decision.action) == (Cause.ALLOWED, Action.ALLOW)


def test_edits_both_ways_and_their_evidence() -> None:
    on = exchange(plan())
    replies = play(on, [*request("to a@example.org"), *answer(b'{"echo": "hi", "scores": [0.123456]}')])
    body = next(reply for reply in replies if isinstance(reply, PassRequestBody))
    assert body.data is not None
    assert b"a@example.org" not in body.data
    assert json.loads(sent(replies))["scores"] == [0.12]
    assert on.decision.action is Action.REDACT
    found = {(finding.check, finding.direction) for finding in on.decision.findings}
    assert found == {("pii", "request"), ("probabilities", "response")}


events = st.sampled_from(
    [
        RequestHeaders(method="POST", path="/predict", headers=JSON, end=False),
        RequestHeaders(method="GET", path="/predict", headers={}, end=True),
        RequestBody(data=b'{"text": "a"}'),
        RequestBody(data=b"{"),
        AnswerHeaders(status=200, headers=JSON, end=False),
        AnswerHeaders(status=204, headers={}, end=True),
        AnswerBody(data=b'{"echo": "a", "scores": []}', end=False),
        AnswerBody(data=b"", end=True),
        AnswerTrailers(),
    ]
)


@given(st.lists(events, max_size=10), st.booleans())
def test_whatever_comes_replies_keep_their_order(happened: list[Event], shadow: bool) -> None:
    on = exchange(plan(mode="shadow" if shadow else "enforce"))
    kinds: list[type] = []
    headers_out = ended = False
    for event in happened:
        try:
            replies = on.take(event)
        except ProtocolViolation:
            break
        for reply in replies:
            assert not ended
            kinds.append(type(reply))
            match reply:
                case PassAnswerHeaders():
                    headers_out = True
                case AnswerData(end=end):
                    assert headers_out
                    ended = end
                case Refuse():
                    assert not headers_out
                    ended = True
                case _:
                    pass
        if ended:
            assert on.complete
    for once in (PassRequestHeaders, PassRequestBody, PassAnswerHeaders):
        assert kinds.count(once) <= 1


@pytest.mark.parametrize(
    ("changes", "happened", "cause"),
    [
        ({}, [request()[0], RequestBody(data=b"{")], Cause.MALFORMED_BODY),
        ({}, [RequestHeaders(method="POST", path="/predict", headers=JSON, end=True)], Cause.MALFORMED_BODY),
        ({"body_authz": (AuthzRule(name="r", deny='request.model == ""'),)}, request(), Cause.FORBIDDEN),
        ({"input": (Pii(types=("email",), action="deny"),)}, request("a@example.org"), Cause.CONTENT_DENIED),
        (
            {},
            [*request(), AnswerHeaders(status=200, headers={**JSON, "content-encoding": "gzip"}, end=False)],
            Cause.ANSWER_ENCODED,
        ),
        ({}, [*request(), *answer(b"not json")], Cause.ANSWER_MALFORMED),
        (
            {},
            [*request(), AnswerHeaders(status=200, headers={"content-type": "text/html"}, end=False)],
            Cause.ANSWER_MALFORMED,
        ),
        ({}, [*request(), AnswerHeaders(status=200, headers=SSE, end=False)], Cause.ANSWER_MALFORMED),
    ],
)
@pytest.mark.parametrize("mode", ["enforce", "shadow"])
def test_what_enforcing_refuses_shadow_passes_and_records(
    changes: dict[str, Any], happened: list[Event], cause: Cause, mode: str
) -> None:
    on = exchange(plan(mode=mode, **changes))
    replies = play(on, happened)
    refused = [reply for reply in replies if isinstance(reply, Refuse)]
    assert bool(refused) == (mode == "enforce")
    assert on.decision.cause is cause
    assert on.shadowed == (mode == "shadow")


@pytest.mark.parametrize("mode", ["enforce", "shadow"])
def test_a_body_above_the_limit_is_refused_in_any_mode(mode: str) -> None:
    on = exchange(plan(mode=mode, max_body_bytes=1024))
    replies = play(on, request("a" * 2000))
    assert isinstance(replies[-1], Refuse)
    assert on.decision.cause is Cause.BODY_TOO_LARGE
    assert not on.shadowed


def test_shadow_changes_nothing() -> None:
    on = exchange(plan(mode="shadow"))
    leak = json.dumps({"echo": CANARY, "scores": [0.123456]}).encode()
    replies = play(on, [*request("to a@example.org"), *answer(leak)])
    assert PassRequestBody() in replies
    assert sent(replies) == leak
    assert on.shadowed


def test_without_output_checks_the_exchange_ends_with_the_request() -> None:
    on = exchange(plan(output=()))
    replies = play(on, request())
    assert replies[0] == PassRequestHeaders(inspect_answer=False)
    assert on.complete
    with pytest.raises(ProtocolViolation):
        on.take(AnswerHeaders(status=200, headers=JSON, end=False))
