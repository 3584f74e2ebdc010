"""An answer that says nothing does not fit a schema: whole or streamed, it is judged like any other text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bartizan.policy.checks import Structured
from sidecar.checks.catalog import build_checks
from sidecar.checks.content import inspect_document
from sidecar.checks.stream import StreamInspector
from sidecar.formats.anthropic import AnthropicFormat
from sidecar.formats.base import Format
from sidecar.formats.ollama import OllamaFormat
from sidecar.formats.openai import OpenAIFormat
from sidecar.model.finding import Action

SCHEMA = {"type": "object", "required": ["mood"]}
GOOD = '{"mood": "calm"}'
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CHAT, TEXT, MESSAGES = "/v1/chat/completions", "/v1/completions", "/v1/messages"
OLLAMA, GENERATE = "/api/chat", "/api/generate"
FORMATS: dict[str, Format] = {
    **dict.fromkeys((CHAT, TEXT, "/v1/embeddings"), OpenAIFormat()),
    MESSAGES: AnthropicFormat(),
    **dict.fromkeys((OLLAMA, GENERATE), OllamaFormat()),
}


def structured(action: str) -> Any:
    return build_checks((Structured(schema=SCHEMA, action=action),))  # type: ignore[arg-type]


def message(**members: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"role": "assistant", **members}}]}


WHOLE: list[tuple[str, Any, list[str]]] = [
    (CHAT, message(content=GOOD), []),
    (CHAT, message(content="{}"), ["choices[0].message.content"]),
    (CHAT, message(content=""), ["choices[0].message.content"]),
    (CHAT, message(content=None), ["choices[0].message.content"]),
    (CHAT, message(), ["choices[0].message.content"]),
    (CHAT, message(content=None, reasoning_content="so"), ["choices[0].message.content"]),
    (CHAT, message(content=[{"type": "text", "text": ""}]), ["choices[0].message.content"]),
    (CHAT, message(content=None, tool_calls=[CALL]), []),
    (CHAT, message(content=None, refusal="I can't."), []),
    (CHAT, {"choices": []}, ["choices[0].message.content"]),
    (
        CHAT,
        {"choices": [*message(content=GOOD)["choices"], {"message": {"content": ""}}]},
        ["choices[1].message.content"],
    ),
    (TEXT, {"choices": [{"text": ""}]}, ["choices[0].text"]),
    (TEXT, {"choices": [{"text": GOOD}]}, []),
    ("/v1/embeddings", {"data": [{"embedding": [0.1]}]}, []),
    (MESSAGES, {"type": "message", "content": []}, ["content[0].text"]),
    (MESSAGES, {"type": "message", "content": [{"type": "text", "text": ""}]}, ["content[0].text"]),
    (MESSAGES, {"type": "message", "content": [{"type": "thinking", "thinking": "so"}]}, ["content[0].text"]),
    (
        MESSAGES,
        {"type": "message", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
        [],
    ),
    (MESSAGES, {"input_tokens": 3}, []),
    (OLLAMA, {"message": {"role": "assistant", "content": ""}, "done": True}, ["message.content"]),
    (OLLAMA, {"message": {"content": "", "tool_calls": [CALL]}, "done": True}, []),
    (GENERATE, {"response": "", "done": True}, ["response"]),
    (GENERATE, {"response": GOOD, "done": True}, []),
]


@pytest.mark.parametrize(("path", "answer", "places"), WHOLE)
@pytest.mark.parametrize("action", ["deny", "flag"])
def test_a_whole_answer_that_says_nothing_is_judged(
    path: str, answer: Any, places: list[str], action: str
) -> None:
    document = FORMATS[path].decode_answer(path, "application/json", json.dumps(answer).encode())
    result = inspect_document(document, structured(action), shadow=False)
    assert [finding.location for finding in result.findings] == places
    assert (result.action is Action[action.upper()]) is bool(places)


def chunk(delta: Any, finish: str | None = None, index: int = 0) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


def block(kind: str, **members: Any) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": 0, "content_block": {"type": kind, **members}},
        {"type": "content_block_stop", "index": 0},
    ]


START = {"type": "message_start", "message": {"id": "m", "type": "message", "content": []}}
STOP = [{"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, {"type": "message_stop"}]
ROLE = chunk({"role": "assistant", "content": ""})
STREAMS: list[tuple[str, list[Any], bool]] = [
    (CHAT, [ROLE, chunk({"content": GOOD}), chunk({}, "stop"), "[DONE]"], False),
    (CHAT, [ROLE, chunk({}, "stop"), "[DONE]"], True),
    (CHAT, [ROLE, "[DONE]"], True),
    (CHAT, [ROLE], True),
    (CHAT, ["[DONE]"], True),
    (CHAT, [ROLE, chunk({"reasoning_content": "so"}), chunk({}, "length"), "[DONE]"], True),
    (CHAT, [ROLE, chunk({"refusal": "No."}), chunk({}, "stop"), "[DONE]"], False),
    (CHAT, [ROLE, chunk({"tool_calls": [{"index": 0, **CALL}]}), chunk({}, "tool_calls"), "[DONE]"], False),
    (CHAT, [{"error": {"message": "busy"}}, "[DONE]"], False),
    (CHAT, [chunk({"content": GOOD}), chunk({}, "stop"), chunk({}, "stop", 1), "[DONE]"], True),
    (TEXT, [{"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}, "[DONE]"], True),
    (TEXT, [{"choices": [{"index": 0, "text": GOOD, "finish_reason": "stop"}]}, "[DONE]"], False),
    (MESSAGES, [START, *STOP], True),
    (MESSAGES, [START, *block("text", text=""), *STOP], True),
    (MESSAGES, [START, *block("text", text=GOOD), *STOP], False),
    (MESSAGES, [START, *block("tool_use", id="t", name="f", input={}), *STOP], False),
    (MESSAGES, [START, {"type": "error", "error": {"type": "overloaded_error", "message": "x"}}], False),
    (MESSAGES, [START], True),
    (OLLAMA, [{"message": {"content": ""}, "done": False}, {"done": True}], True),
    (OLLAMA, [{"message": {"content": GOOD}, "done": False}, {"done": True}], False),
    (OLLAMA, [{"message": {"content": "", "tool_calls": [CALL]}, "done": True}], False),
    (OLLAMA, [{"error": "busy"}], False),
    (GENERATE, [{"response": "", "done": True}], True),
]


@pytest.mark.parametrize(("path", "events", "silent"), STREAMS)
@pytest.mark.parametrize("way", ["deny", "flag", "shadow"])
def test_a_streamed_answer_that_says_nothing_is_judged_before_its_end_is_out(
    path: str, events: list[Any], way: str, silent: bool
) -> None:
    lines = path in (OLLAMA, GENERATE)
    stream = FORMATS[path].answer_stream(path, "application/x-ndjson" if lines else "text/event-stream")
    assert stream is not None
    checks = structured("flag" if way == "flag" else "deny")
    inspector = StreamInspector(stream, checks, shadow=way == "shadow", decision_id="d1")
    written = [item.encode() if isinstance(item, str) else json.dumps(item).encode() for item in events]
    data = b"".join(b"%s\n" % item if lines else b"data: %s\n\n" % item for item in written)
    pieces = [inspector.feed(data[at : at + 7], end=False) for at in range(0, len(data), 7)]
    pieces.append(inspector.feed(b"", end=True))
    out = b"".join(piece.data for piece in pieces)
    assert [finding.kind for finding in inspector.findings] == ["schema_mismatch"] * silent
    assert pieces[-1].cut is (silent and way == "deny")
    if way == "shadow":
        assert out == data
    if pieces[-1].cut:
        assert out.count(b'"stop"') == data.count(b"calm"), "of choices that said something"
        assert b"end_turn" not in out
