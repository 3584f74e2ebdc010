"""Validators of complete texts in streams: the verdict does not depend on the split, and what is kept is bounded."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from bartizan.policy.checks import Pii, Secrets, Structured, Tools
from sidecar.checks.base import CheckSet
from sidecar.checks.catalog import build_checks
from sidecar.checks.content import inspect_document
from sidecar.checks.kept_texts import MAX_KEPT
from sidecar.checks.stream import StreamInspector
from sidecar.formats.openai import OpenAIFormat
from sidecar.formats.openai_stream import openai_stream
from sidecar.model.decision import Cause
from sidecar.model.finding import Action

SCHEMA = {"type": "object", "properties": {"q": {"type": "string"}}, "additionalProperties": False}
CHECKS = build_checks(
    (
        Pii(),
        Tools(allow=("search", "find"), schemas={"search": SCHEMA}),
        Structured(schema={"type": "array", "items": {"type": "integer"}}),
    )
)


def event(delta: dict[str, object], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({"id": "c", "choices": [choice]}).encode() + b"\n\n"


def call(index: int, **function: str) -> dict[str, object]:
    return {"tool_calls": [{"index": index, "function": function}]}


def run(data: bytes, sizes: list[int], checks: CheckSet = CHECKS) -> tuple[bytes, Cause | None, set[str]]:
    inspector = StreamInspector(openai_stream(legacy=False), checks, shadow=False)
    out, at, cause = b"", 0, None
    for size in [*sizes, len(data)]:
        output = inspector.feed(data[at : at + size], at + size >= len(data))
        out, at, cause = out + output.data, at + size, output.cause
        if at >= len(data) or output.cut:
            break
    return out, cause, {finding.kind for finding in inspector.findings}


NAMES = st.sampled_from(["search", "find", "shell"])
ARGUMENTS = st.sampled_from(
    [
        '{"q": "tea"}',
        '{"q": "two\\nlines"}',
        '{\n "q": 1}',
        '{"q": 7}',
        '{"q": "jane@mail.example.com"}',
        "{",
        "",
        '{"x": 1}',
    ]
)
CONTENT = st.sampled_from(["[1, 2]", '[1, "a"]', "words", "[]"])


@settings(max_examples=200, deadline=None)
@given(
    calls=st.lists(st.tuples(NAMES, ARGUMENTS), max_size=2),
    content=st.none() | CONTENT,
    sizes=st.lists(st.integers(1, 80), max_size=60),
    width=st.integers(1, 6),
)
def test_a_stream_is_let_go_exactly_when_the_whole_answer_is(
    calls: list[tuple[str, str]], content: str | None, sizes: list[int], width: int
) -> None:
    data = b"".join(
        event({"content": content[at : at + width]}) for at in range(0, len(content or ""), width) if content
    )
    for index, (name, arguments) in enumerate(calls):
        data += event(call(index, name=name, arguments=""))
        data += b"".join(
            event(call(index, arguments=arguments[at : at + width])) for at in range(0, len(arguments), width)
        )
    data += event({}, "stop") + b"data: [DONE]\n\n"
    out, cause, _ = run(data, sizes)
    message: dict[str, object] = {"content": content}
    if calls:
        message["tool_calls"] = [{"function": {"name": name, "arguments": said}} for name, said in calls]
    body = json.dumps({"choices": [{"message": message}]}).encode()
    document = OpenAIFormat().decode_answer("/v1/chat/completions", "application/json", body)
    whole = inspect_document(document, CHECKS, shadow=False)
    assert (cause is not None) == (whole.action is Action.DENY)
    assert (b"shell" in out) is False
    if cause is not None:
        assert b'"tea' not in out or calls[0] == ("find", '{"q": "tea"}')


def test_a_text_beyond_its_bound_cuts_the_stream_instead_of_growing() -> None:
    piece = event({"content": "1," * 20_000})
    out, cause, kinds = run(piece * (MAX_KEPT // 40_000 + 2), [len(piece)] * 60)
    assert (cause, kinds) == (Cause.ANSWER_CUT, {"too_long"})
    assert b"1,1," not in out


def test_a_name_that_ends_with_its_call_in_one_event_is_judged_once() -> None:
    call = {"index": 0, "function": {"name": "find", "arguments": "{}"}}
    event = {"choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]}
    checks = build_checks((Secrets(), Tools(allow=("find",))))
    inspector = StreamInspector(openai_stream(legacy=False), checks, shadow=False)
    assert not inspector.feed(b"data: " + json.dumps(event).encode() + b"\n\n", end=True).cut
