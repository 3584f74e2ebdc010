"""The exchange: what may follow what, that nothing leaks whatever the split, and that only its end is an end."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bartizan.errors import ProtocolViolation
from bartizan.policy.bundle import GuardModel
from bartizan.policy.checks import Canary, Pii, Probabilities
from bartizan.policy.schema import AuthzRule, Route
from sidecar import exchange as tested
from sidecar.checks.admission.request_rate import Buckets
from sidecar.checks.content import MAX_TEXTS
from sidecar.exchange import Exchange
from sidecar.model.decision import Cause
from sidecar.model.events import (
    AnswerBody,
    AnswerData,
    AnswerHeaders,
    AnswerTrailers,
    Event,
    PassAnswerHeaders,
    PassAnswerTrailers,
    PassRequestBody,
    PassRequestHeaders,
    PassRequestTrailers,
    Refuse,
    Reply,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
)
from sidecar.model.finding import Action
from sidecar.model.request import Identity
from sidecar.model.stage import Stage
from sidecar.plan.judge import ERROR_REPLACED
from sidecar.plan.load import load_plan
from sidecar.plan.plan import Plan
from sidecar.plan.probe import Probe
from tests.support.guard import guard_plan

CANARY = "canary-7f3a9c21"
CALLER = Identity(subject="k1", tenant="acme", method="api_key", key_id="k1")
JSON = {"content-type": "application/json"}
SSE = {"content-type": "text/event-stream"}
OUTPUT = (Canary(tokens=(CANARY,), action="cut"), Probabilities(decimals=2))


def plan(**changes: Any) -> Plan:
    route = Route(
        path="/predict", input_text=("$.text",), output_text=("$.echo",), output_scores=("$.scores",)
    )
    defaults: dict[str, Any] = {"routes": (route,), "input": (Pii(types=("email",)),), "output": OUTPUT}
    return load_plan(guard_plan(**{**defaults, **changes}), Buckets(clock=lambda: 0.0))


def chat_plan(**changes: Any) -> Plan:
    return plan(
        model=GuardModel(name="m", protocol="openai"), routes=(), input=(), output=OUTPUT[:1], **changes
    )


def exchange(with_plan: Plan, **options: Any) -> Exchange:
    return Exchange(
        with_plan,
        options.pop("identity", CALLER),
        "d" * 32,
        source_address="",
        trace_id="",
        clock_ns=lambda: 0,
        **options,
    )


def request(text: str = "hello") -> list[Event]:
    body = json.dumps({"text": text}).encode()
    return [
        RequestHeaders(method="POST", path="/predict", headers=JSON, end=False),
        RequestBody(data=body),
    ]


def chat_request() -> list[Event]:
    body = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "x"}]})
    return [
        RequestHeaders(method="POST", path="/v1/chat/completions", headers=JSON, end=False),
        RequestBody(data=body.encode()),
    ]


def answer(body: bytes, cuts: Sequence[int] = (), **options: Any) -> list[Event]:
    """The answer's events, its body split at `cuts`."""
    places = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    pieces = [body[start:end] for start, end in itertools.pairwise(places)]
    data: list[Event] = [AnswerBody(data=piece, end=False) for piece in pieces]
    last: Event = AnswerTrailers() if options.get("trailers") else AnswerBody(data=b"", end=True)
    headers = AnswerHeaders(
        status=options.get("status", 200), headers=options.get("headers", JSON), end=False
    )
    return [headers, *data, last]


def play(on: Exchange, events: Sequence[Event]) -> list[Reply]:
    replies: list[Reply] = []
    for event in events:
        replies += on.take(event)
        if on.stage is Stage.REFUSED:
            break
    return replies


def sent(replies: Sequence[Reply]) -> bytes:
    return b"".join(reply.data for reply in replies if isinstance(reply, AnswerData))


def sse(*words: str) -> bytes:
    events = [
        {"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]} for word in words
    ]
    return b"".join(f"data: {json.dumps(item)}\n\n".encode() for item in events) + b"data: [DONE]\n\n"


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
    assert {finding.check for finding in on.decision.findings} == {"pii", "probabilities"}


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
    assert (on.decision.cause, on.decision.action) == (Cause.ANSWER_CUT, Action.CUT)


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
        ({"max_body_bytes": 5}, request(), Cause.BODY_TOO_LARGE),
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


def test_shadow_changes_nothing() -> None:
    on = exchange(plan(mode="shadow"))
    leak = json.dumps({"echo": CANARY, "scores": [0.123456]}).encode()
    replies = play(on, [*request("to a@example.org"), *answer(leak)])
    assert PassRequestBody() in replies
    assert sent(replies) == leak
    assert on.shadowed


def test_a_model_outside_of_the_keys_list_is_refused() -> None:
    limited = Identity(subject="k", tenant="acme", method="api_key", models=("other",))
    on = exchange(chat_plan(), identity=limited)
    (_, refused) = play(on, chat_request())
    assert isinstance(refused, Refuse)
    assert refused.decision.cause is Cause.MODEL_NOT_ALLOWED


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
    assert on.decision.findings == (ERROR_REPLACED,)
    assert PassAnswerHeaders(content_type="application/problem+json") in replies
    assert on.status == 500


def test_an_error_of_another_type_is_replaced_before_it_ends_and_passes_in_shadow() -> None:
    endless = [*request(), *answer(b"Traceback", status=500, headers={"content-type": "text/plain"})[:2]]
    enforcing, shadow = exchange(plan()), exchange(plan(mode="shadow"))
    assert b"Traceback" not in sent(play(enforcing, endless))
    assert enforcing.complete
    assert sent(play(shadow, endless)) == b"Traceback"
    assert (shadow.shadowed, shadow.decision.findings) == (True, (ERROR_REPLACED,))


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


def test_without_output_checks_the_exchange_ends_with_the_request() -> None:
    on = exchange(plan(output=()))
    replies = play(on, request())
    assert replies[0] == PassRequestHeaders(inspect_answer=False)
    assert on.complete
    with pytest.raises(ProtocolViolation):
        on.take(AnswerHeaders(status=200, headers=JSON, end=False))


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


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_query_is_refused_where_input_is_checked_and_passes_where_not(method: str) -> None:
    body = request()[1] if method == "POST" else RequestTrailers()
    headers = RequestHeaders(method=method, path="/predict", query=True, headers=JSON, end=False)
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


@pytest.mark.parametrize(("status", "replies"), [(200, Cause.ANSWER_TOO_LARGE), (500, Cause.ALLOWED)])
def test_an_answer_of_more_texts_than_are_inspected_is_not_let_out(status: int, replies: Cause) -> None:
    choices = [{"message": {"content": "private"}}] * (MAX_TEXTS + 1)
    on = exchange(chat_plan())
    said = play(on, [*chat_request(), *answer(json.dumps({"choices": choices}).encode(), status=status)])
    assert b"private" not in sent(said)
    assert on.decision.cause is replies


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


def test_a_canary_in_an_answer_of_unknown_shape_is_not_let_out() -> None:
    on = exchange(chat_plan())
    head = RequestHeaders(method="GET", path="/v1/models", headers={}, end=True)
    body = json.dumps({"object": "list", "data": [{"id": f"m-{CANARY}"}]}).encode()
    replies = play(on, [head, *answer(body)])
    assert isinstance(replies[-1], Refuse)
    assert on.decision.cause is Cause.ANSWER_DENIED
