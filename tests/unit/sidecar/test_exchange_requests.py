"""Requests of an exchange: bodies, trailers, queries and probes that are refused, and what their evidence says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bartizan.policy.bundle import GuardModel
from bartizan.policy.checks import Pii
from bartizan.policy.schema import AuthzRule
from sidecar.checks.content import MAX_TEXTS
from sidecar.model.decision import Cause
from sidecar.model.events import (
    Event,
    PassRequestBody,
    PassRequestTrailers,
    Refuse,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
)
from sidecar.model.request import Identity
from sidecar.model.stage import Stage
from sidecar.plan.probe import Probe
from tests.support.exchanges import JSON, chat_plan, chat_request, exchange, plan, play, request


def test_a_model_outside_of_the_keys_list_is_refused() -> None:
    limited = Identity(subject="k", tenant="acme", method="api_key", models=("other",))
    on = exchange(chat_plan(), identity=limited)
    (_, refused) = play(on, chat_request())
    assert isinstance(refused, Refuse)
    assert refused.decision.cause is Cause.MODEL_NOT_ALLOWED


@pytest.mark.parametrize(
    ("protocol", "body", "proves", "status"),
    [
        ("json_fields", b'{"probe":', True, None),
        ("json_fields", b'{"text": "fine"}', False, 500),
        ("opaque", b"anything", True, None),
    ],
)
def test_every_probe_is_refused_and_only_a_working_pipeline_proves(
    protocol: Any, body: bytes, proves: bool, status: int | None
) -> None:
    with_plan = plan(model=GuardModel(name="m", protocol=protocol))
    on = exchange(with_plan, identity=None, probe=Probe(nonce="0" * 32, phase="content"))
    (_, refused) = play(on, [request()[0], RequestBody(data=body)])
    assert isinstance(refused, Refuse)
    assert (refused.proves, refused.status) == (proves, status)


@pytest.mark.parametrize("changes", [{}, {"output": ()}], ids=["answers inspected", "answers not"])
def test_trailers_in_place_of_a_body_are_an_empty_body(changes: dict[str, Any]) -> None:
    on = exchange(plan(**changes))
    _, refused = play(on, [request()[0], RequestTrailers()])
    assert isinstance(refused, Refuse)
    assert (refused.decision.cause, on.stage) == (Cause.MALFORMED_BODY, Stage.REFUSED)


def test_trailers_without_a_body_are_judged_by_the_rules_over_the_body() -> None:
    rule = AuthzRule(name="only-small", allow='request.model == "small"')
    on = exchange(chat_plan(body_authz=(rule,)))
    headers = RequestHeaders(method="GET", path="/v1/models", headers={}, end=False)
    _, refused = play(on, [headers, RequestTrailers()])
    assert isinstance(refused, Refuse)
    assert refused.decision.cause is Cause.FORBIDDEN


def test_trailers_that_pass_leave_the_exchange_waiting_for_the_answer() -> None:
    on = exchange(plan(input=(), output=()))
    headers = RequestHeaders(method="GET", path="/predict", headers={}, end=False)
    assert play(on, [headers, RequestTrailers()])[-1] == PassRequestTrailers()
    assert on.complete
    after_body = exchange(plan())
    assert play(after_body, [*request(), RequestTrailers()])[-1] == PassRequestTrailers()
    assert after_body.stage is Stage.MODEL


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_query_is_refused_where_input_is_checked_and_passes_where_not(method: str) -> None:
    body = request()[1] if method == "POST" else RequestTrailers()
    headers = RequestHeaders(method=method, path="/predict", query="a=b", headers=JSON, end=False)
    refused = play(exchange(plan()), [headers, body])[-1]
    assert isinstance(refused, Refuse)
    assert refused.decision.cause is Cause.QUERY_NOT_ALLOWED
    shadowed = exchange(plan(mode="shadow"))
    for on in (shadowed, exchange(plan(input=()))):
        assert isinstance(play(on, [headers, body])[-1], PassRequestBody | PassRequestTrailers)
    assert shadowed.decision.cause is Cause.QUERY_NOT_ALLOWED


def test_a_body_that_is_still_packed_is_refused() -> None:
    packed = {**JSON, "content-encoding": "gzip"}
    headers = RequestHeaders(method="POST", path="/predict", headers=packed, end=False)
    refused = play(exchange(plan()), [headers, request()[1]])[-1]
    assert isinstance(refused, Refuse)
    assert refused.decision.cause is Cause.UNSUPPORTED_ENCODING


def many_texts(count: int) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}] * count}]}


def test_a_request_of_more_texts_than_are_inspected_is_refused() -> None:
    checked = plan(model=GuardModel(name="m", protocol="openai"), routes=(), input=(Pii(),))
    headers = RequestHeaders(method="POST", path="/v1/chat/completions", headers=JSON, end=False)
    for count, passes in ((MAX_TEXTS, True), (MAX_TEXTS + 1, False)):
        on = exchange(checked)
        body = RequestBody(data=json.dumps(many_texts(count)).encode())
        assert isinstance(play(on, [headers, body])[-1], PassRequestBody) is passes
    assert (on.decision.cause, on.decision.detail) == (Cause.MALFORMED_BODY, "too_many_texts")


def chat_body(body: Any) -> list[Event]:
    headers = RequestHeaders(method="POST", path="/v1/completions", headers=JSON, end=False)
    return [headers, RequestBody(data=json.dumps(body).encode())]


@pytest.mark.parametrize("body", [{"prompt": [1, 2]}, {"prompt": [[1, 2]]}, {"input": [3]}])
def test_token_ids_are_refused_where_input_is_checked_and_pass_where_not(body: Any) -> None:
    checked = plan(model=GuardModel(name="m", protocol="openai"), routes=(), input=(Pii(),))
    (_, refused) = play(exchange(checked), chat_body(body))
    assert isinstance(refused, Refuse)
    assert (refused.decision.cause, refused.decision.detail) == (Cause.MALFORMED_BODY, "token_ids")
    unchecked = exchange(chat_plan())
    assert not any(isinstance(reply, Refuse) for reply in play(unchecked, chat_body(body)))


def test_an_image_passes_and_the_evidence_says_so() -> None:
    checked = plan(model=GuardModel(name="m", protocol="openai"), routes=(), input=(Pii(),), output=())
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    body = {"messages": [{"role": "user", "content": [{"type": "text", "text": "what is it"}, image]}]}
    on = exchange(checked)
    play(on, chat_body(body))
    assert on.trail.unscanned == ["image_url"]
    assert on.trail.request_scanned == len("what is it")
