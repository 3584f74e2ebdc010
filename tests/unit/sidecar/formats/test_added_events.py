"""What the guard writes into streams: whole lines for every reader, events of their own, no stack traces of engines."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bartizan.policy.checks import Canary, Pii
from sidecar.checks.base import CheckSet
from sidecar.checks.content import inspect_document
from sidecar.checks.detectors import canary, pii
from sidecar.checks.stream import StreamInspector, StreamOutput
from sidecar.formats.anthropic import AnthropicFormat
from sidecar.formats.base import Format
from sidecar.formats.json_text import decode
from sidecar.formats.mcp import McpFormat
from sidecar.formats.ollama import OllamaFormat
from sidecar.formats.openai import OpenAIFormat
from sidecar.formats.predict import PredictFormat

SSE, LINES = "text/event-stream", "application/x-ndjson"
CHECKS = CheckSet(texts=[pii.build(Pii()), canary.build(Canary(tokens=("canary-7f3a9c21",)))])
CHAT, RESPONSES, MESSAGES, OLLAMA = "/v1/chat/completions", "/v1/responses", "/v1/messages", "/api/chat"
FORMATS: dict[str, tuple[Format, str]] = {
    CHAT: (OpenAIFormat(), SSE),
    RESPONSES: (OpenAIFormat(), SSE),
    MESSAGES: (AnthropicFormat(), SSE),
    OLLAMA: (OllamaFormat(), LINES),
    "/mcp": (McpFormat(), SSE),
}
TRACE = 'Traceback (most recent call last):\n  File "/srv/x.py", line 3'


def delta(path: str, content: Any) -> dict[str, Any]:
    match path:
        case "/v1/chat/completions":
            return {"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": None}]}
        case "/v1/responses":
            place = {"item_id": "i", "output_index": 0, "content_index": 0, "sequence_number": 1}
            return {"type": "response.output_text.delta", **place, "delta": content}
        case "/v1/messages":
            return {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": content},
            }
        case _:
            return {"model": "m", "message": {"role": "assistant", "content": content}, "done": False}


def framed(path: str, *events: dict[str, Any], end: bool = True) -> bytes:
    sse = FORMATS[path][1] == SSE
    whole = b"".join(
        b"data: " + json.dumps(event).encode() + b"\n\n" if sse else json.dumps(event).encode() + b"\n"
        for event in events
    )
    return whole if end else whole.rstrip(b"\n")


def inspected(path: str, data: bytes, checks: CheckSet = CHECKS) -> StreamOutput:
    form, kind = FORMATS[path]
    stream = form.answer_stream(path, kind)
    assert stream is not None
    return StreamInspector(stream, checks, shadow=False, decision_id="d" * 32).feed(data, end=True)


def said(path: str, data: bytes) -> list[dict[str, Any]]:
    """Events as a client reads them that takes every line end of Unicode for one, and each line for a JSON object."""
    lines = [line for line in data.decode().splitlines() if line and not line.startswith("event:")]
    if FORMATS[path][1] == LINES:
        return [json.loads(line) for line in lines]
    return [json.loads(line.removeprefix("data: ")) for line in lines if line != "data: [DONE]"]


@pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES, OLLAMA])
def test_no_line_of_ours_ends_where_the_models_text_has_a_line_end_of_unicode(path: str) -> None:
    ends = "\u2028\u2029\x85"
    texts = [f"mail a@b.org{ends}now", f" and{ends} more", f" call joe{ends}x.y"]
    events = said(path, inspected(path, framed(path, *(delta(path, text) for text in texts))).data)
    assert json.dumps(events).count("2028") == 3
    assert "[EMAIL]" in json.dumps(events)


@pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES, OLLAMA])
@pytest.mark.parametrize("last", ["joe", "the canary-7f3a9c21"])
def test_what_follows_an_event_without_its_end_is_an_event_of_its_own(path: str, last: str) -> None:
    data = framed(path, delta(path, "mail "), delta(path, last), end=False)
    out = inspected(path, data).data
    assert b"joe" in out or b"canary" not in out
    assert len(said(path, out)) >= 2
    for event in out.split(b"\n\n") if FORMATS[path][1] == SSE else ():
        assert event.count(b"data: ") <= 1


@pytest.mark.parametrize("ending", ["", "\n", "\r", "\r\n", "\n\r"])
def test_an_unfinished_event_is_ended_whatever_its_line_ends(ending: str) -> None:
    first = framed(CHAT, delta(CHAT, "call joe"), end=False) + ending.encode()
    stream = OpenAIFormat().answer_stream(CHAT, SSE)
    assert stream is not None
    stream.feed(first, end=True)
    out = stream.take(None) + stream.cut("d")
    again = OpenAIFormat().answer_stream(CHAT, SSE)
    assert again is not None
    again.feed(out, end=True)
    assert len(again.events()) == 3  # the model's, the end of its choice, [DONE]


def test_an_event_that_nothing_follows_stays_as_it_came() -> None:
    data = framed(CHAT, delta(CHAT, "a word "), end=False)
    assert inspected(CHAT, data).data == data


ERRORS: list[tuple[str, dict[str, Any]]] = [
    (CHAT, {"error": {"message": TRACE, "type": "InternalServerError", "code": 500}}),
    (CHAT, {"error": TRACE}),
    (
        RESPONSES,
        {"type": "response.failed", "response": {"error": {"code": "server_error", "message": TRACE}}},
    ),
    (MESSAGES, {"type": "error", "error": {"type": "api_error", "message": TRACE}}),
    (OLLAMA, {"error": TRACE}),
    (
        "/mcp",
        {"jsonrpc": "2.0", "id": 1, "error": {"code": -32603, "message": "x", "data": {"trace": [TRACE]}}},
    ),
]


@pytest.mark.parametrize(("path", "error"), ERRORS)
@pytest.mark.parametrize("checks", [CHECKS, CheckSet()], ids=["texts", "none"])
def test_a_stack_trace_in_a_streamed_error_stays_inside(
    path: str, error: dict[str, Any], checks: CheckSet
) -> None:
    form, kind = FORMATS[path]
    stream = form.answer_stream(path, kind)
    assert stream is not None
    inspector = StreamInspector(stream, checks, shadow=False)
    out = inspector.feed(framed(path, error), end=True).data
    assert b"Traceback" not in out
    assert b"The model answered with an error." in out
    assert set(said(path, out)[0]) == set(error)
    assert "model_error" in inspector.unscanned


@pytest.mark.parametrize(
    ("form", "path", "error"),
    [
        *((FORMATS[path][0], path, error) for path, error in ERRORS if path != RESPONSES),
        (PredictFormat("kserve_v1", strict=False), "/v1/models/m:predict", {"error": TRACE}),
    ],
)
def test_a_stack_trace_in_an_error_that_came_with_200_stays_inside(
    form: Format, path: str, error: dict[str, Any]
) -> None:
    document = form.decode_answer(path, "application/json", json.dumps(error).encode())
    assert b"Traceback" not in document.encode()
    assert "model_error" in document.unscanned()
    assert all("Traceback" not in part.text for part in document.texts())


def test_a_trace_that_the_model_talks_of_passes() -> None:
    data = framed(CHAT, delta(CHAT, f"{TRACE} it says "))
    assert inspected(CHAT, data).data == data


def test_content_in_parts_is_read_as_the_texts_that_clients_join() -> None:
    def thought(text: str) -> list[dict[str, Any]]:
        return [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]

    pieces = [thought("mail jo"), thought("e@example.org "), [{"type": "text", "text": "card 4111 1111"}]]
    events = [delta(CHAT, piece) for piece in [*pieces, " 1111 1111 or jim"]]
    out = inspected(CHAT, framed(CHAT, *events))
    assert {finding.kind for finding in out.findings} == {"email", "card"}
    thinking, content = "", ""
    for event in said(CHAT, out.data):
        read = event["choices"][0]["delta"]["content"]
        parts: list[dict[str, Any]] = [{"text": read}] if isinstance(read, str) else read
        for part in parts:
            content += part.get("text", "")
            thinking += "".join(inner["text"] for inner in part.get("thinking", ()))
    assert (thinking, content) == ("mail [EMAIL] ", "card [CARD] or jim")


def test_whole_content_in_parts_is_read_too() -> None:
    part = {"type": "thinking", "thinking": [{"type": "text", "text": "mail joe@example.org"}]}
    body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": [part]}}]}
    document = OpenAIFormat().decode_answer(CHAT, "application/json", json.dumps(body).encode())
    assert [part.text for part in document.texts()] == ["mail joe@example.org"]


def test_keys_of_an_answer_that_a_redaction_makes_alike_stay_apart() -> None:
    rows = {"a@example.org": 1, "c@example.org": 2}
    body = {"choices": [], "x": rows}
    document = OpenAIFormat().decode_answer(CHAT, "application/json", json.dumps(body).encode())
    inspect_document(document, CHECKS, shadow=False)
    events = said(CHAT, inspected(CHAT, framed(CHAT, body)).data)
    for read in (decode(document.encode())[1], *events):
        assert read["x"] == {"[EMAIL]": 1, "[EMAIL] 2": 2}
