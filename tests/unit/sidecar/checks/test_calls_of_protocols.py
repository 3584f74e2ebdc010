"""Tool calls and structured texts are judged alike in every protocol of chats, streamed or not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bartizan.policy.checks import Pii, Structured, Tools
from sidecar.checks.base import CheckSet
from sidecar.checks.catalog import build_checks
from sidecar.checks.content import inspect_document
from sidecar.checks.stream import StreamInspector
from sidecar.formats.anthropic import AnthropicFormat
from sidecar.formats.base import Format
from sidecar.formats.ollama import OllamaFormat
from sidecar.formats.openai import OpenAIFormat

SCHEMA = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
TOOLS = build_checks((Tools(allow=("find", "free"), schemas={"find": SCHEMA}),))
MOOD = build_checks((Structured(schema={"type": "object", "required": ["mood"]}),))
FORMATS: dict[str, tuple[Format, str, str]] = {
    "openai": (OpenAIFormat(), "/v1/chat/completions", "text/event-stream"),
    "anthropic": (AnthropicFormat(), "/v1/messages", "text/event-stream"),
    "ollama": (OllamaFormat(), "/api/chat", "application/x-ndjson"),
}
Call = tuple[str | None, Any]


def whole(protocol: str, text: str, calls: list[Call]) -> Any:
    match protocol:
        case "openai":
            made = [{"function": _named(name, arguments=json.dumps(said))} for name, said in calls]
            return {"choices": [{"message": {"content": text, "tool_calls": made}}]}
        case "anthropic":
            blocks = [{"type": "tool_use", "id": "t", **_named(name, input=said)} for name, said in calls]
            return {"type": "message", "content": [*([_text(text)] if text else []), *blocks]}
        case _:
            made = [{"function": _named(name, arguments=said)} for name, said in calls]
            return {"message": {"role": "assistant", "content": text, "tool_calls": made}, "done": True}


def stream(protocol: str, text: str, calls: list[Call]) -> bytes:
    if protocol == "ollama":
        lines = [{"message": {"role": "assistant", "content": char}, "done": False} for char in text]
        made = [{"message": whole(protocol, "", [call])["message"], "done": False} for call in calls]
        return b"".join(json.dumps(line).encode() + b"\n" for line in (*lines, *made, {"done": True}))
    events = _chunks(text, calls) if protocol == "openai" else _message(text, calls)
    return b"".join(f"data: {json.dumps(event)}\n\n".encode() for event in events)


def _named(name: str | None, **more: Any) -> dict[str, Any]:
    return more if name is None else {"name": name, **more}


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def _chunks(text: str, calls: list[Call]) -> Iterator[Any]:
    deltas: list[dict[str, Any]] = [{"content": char} for char in text]
    for index, (name, said) in enumerate(calls):
        deltas.append({"tool_calls": [{"index": index, "function": _named(name, arguments="")}]})
        deltas += [
            {"tool_calls": [{"index": index, "function": {"arguments": char}}]} for char in json.dumps(said)
        ]
    for delta in deltas:
        yield {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


def _message(text: str, calls: list[Call]) -> Iterator[Any]:
    yield {"type": "message_start", "message": {"id": "m", "content": []}}
    blocks: list[tuple[dict[str, Any], list[dict[str, str]]]] = []
    if text:
        blocks.append((_text(""), [{"type": "text_delta", "text": char} for char in text]))
    for name, said in calls:
        deltas = [{"type": "input_json_delta", "partial_json": char} for char in json.dumps(said)]
        blocks.append(({"type": "tool_use", "id": "t", **_named(name, input={})}, deltas))
    for index, (block, deltas) in enumerate(blocks):
        yield {"type": "content_block_start", "index": index, "content_block": block}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    yield {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
    yield {"type": "message_stop"}


def streamed(protocol: str, data: bytes, checks: CheckSet) -> tuple[bytes, set[str]]:
    kind, path, media = FORMATS[protocol]
    made = kind.answer_stream(path, media)
    assert made is not None
    inspector = StreamInspector(made, checks, shadow=False, decision_id="d1")
    output = inspector.feed(data, end=True)
    assert output.cut == bool(output.findings)
    return output.data, {finding.kind for finding in output.findings}


def arguments(data: bytes) -> str:
    """What a client gathers of all calls, whatever the protocol."""
    lines = [line.removeprefix("data: ") for line in data.decode().splitlines() if "{" in line]
    out = ""
    for event in map(json.loads, lines):
        for choice in event.get("choices", ()):
            calls = choice["delta"].get("tool_calls", ())
            out += "".join(call["function"].get("arguments", "") for call in calls)
        out += event.get("delta", {}).get("partial_json", "")
        for call in event.get("message", {}).get("tool_calls", ()):
            out += json.dumps(call["function"]["arguments"])
    return out


def judged(protocol: str, body: Any, checks: CheckSet) -> set[str]:
    kind, path, _ = FORMATS[protocol]
    document = kind.decode_answer(path, "application/json", json.dumps(body).encode())
    return {finding.kind for finding in inspect_document(document, checks, shadow=False).findings}


@pytest.mark.parametrize("protocol", FORMATS)
@pytest.mark.parametrize(
    ("calls", "kinds"),
    [
        ([("find", {"q": "tea"})], set()),
        ([("free", {"any": "oolong"})], set()),
        ([("find", {"q": 'a \\ " \n é 猫'})], set()),
        ([("find", {"q": 7, "x": "oolong"})], {"tool_arguments"}),
        ([("find", {})], {"tool_arguments"}),
        ([("shell", {"cmd": "oolong"})], {"tool_not_allowed"}),
        ([("find", {"q": "tea"}), ("shell", {"q": "oolong"})], {"tool_not_allowed"}),
        ([(None, {"q": "oolong"})], {"tool_without_name"}),
    ],
)
def test_calls_are_judged_by_name_and_schema(protocol: str, calls: list[Call], kinds: set[str]) -> None:
    assert judged(protocol, whole(protocol, "hi", calls), TOOLS) == kinds
    data = stream(protocol, "hi", calls)
    out, found = streamed(protocol, data, TOOLS)
    assert found == kinds
    if kinds:
        assert b"oolong" not in out
        assert b"shell" not in out
    else:
        assert json.loads(arguments(out)) == json.loads(arguments(data)) == calls[0][1]


GOOD, BAD = '{"q": "tea"}', '{"q": 7}'


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        ({"function": {"name": "shell", "arguments": GOOD}, "custom": {"name": "free"}}, "tool_not_allowed"),
        ({"custom": {"name": "free"}, "function": {"name": "shell", "arguments": "{}"}}, "tool_not_allowed"),
        ({"function": {"name": "free"}, "custom": {"name": "shell", "input": ""}}, "tool_not_allowed"),
        (
            {"function": {"name": "find", "arguments": BAD}, "custom": {"name": "free", "input": GOOD}},
            "tool_arguments",
        ),
        (
            {"function": {"name": "free", "arguments": GOOD}, "custom": {"name": "find", "input": BAD}},
            "tool_arguments",
        ),
        ({"function": {"name": "free"}, "custom": {"input": "x"}}, "tool_without_name"),
    ],
)
def test_a_call_with_a_function_and_a_custom_tool_is_judged_as_both(call: Any, kind: str) -> None:
    assert judged("openai", {"choices": [{"message": {"tool_calls": [call]}}]}, TOOLS) == {kind}
    chunk = {"choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]}
    assert streamed("openai", f"data: {json.dumps(chunk)}\n\n".encode(), TOOLS)[1] == {kind}


@pytest.mark.parametrize("protocol", FORMATS)
@pytest.mark.parametrize(
    ("text", "fits"), [('{"mood": "good"}', True), ('{"food": "bad"}', False), ("bad", False)]
)
def test_a_chats_text_fits_the_schema_or_is_withheld(protocol: str, text: str, fits: bool) -> None:
    kinds = set() if fits else {"schema_mismatch"}
    assert judged(protocol, whole(protocol, text, []), MOOD) == kinds
    out, found = streamed(protocol, stream(protocol, text, []), MOOD)
    assert found == kinds
    assert fits or b"bad" not in out


def test_a_call_that_a_message_begins_with_is_judged_before_it_flows() -> None:
    block = {"type": "tool_use", "id": "t", "name": "find", "input": {"q": 7, "x": "oolong"}}
    begun = {"type": "message_start", "message": {"id": "m", "content": [block]}}
    started = {"type": "content_block_start", "index": 0, "content_block": block}
    for event in (begun, started):
        out, found = streamed("anthropic", f"data: {json.dumps(event)}\n\n".encode(), TOOLS)
        assert found == {"tool_arguments"}
        assert b"oolong" not in out


@pytest.mark.parametrize("protocol", ["anthropic", "ollama"])
def test_arguments_are_judged_as_redactions_leave_them(protocol: str) -> None:
    number = {"type": "object", "properties": {"q": {"type": "string", "pattern": r"^\[EMAIL\]$"}}}
    checks = build_checks((Pii(), Tools(allow=("find",), schemas={"find": number})))
    body = whole(protocol, "", [("find", {"q": "jane@example.org"})])
    assert judged(protocol, body, checks) == {"email"}
