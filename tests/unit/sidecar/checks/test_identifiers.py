"""Identifiers: what programs go by is read for canaries and secrets, edited never, and nothing else looks at it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bartizan.policy.bundle import GuardModel, GuardPlan
from bartizan.policy.checks import Canary, Pii, Secrets
from sidecar.checks.catalog import build_checks
from sidecar.checks.content import inspect_document
from sidecar.checks.stream import StreamInspector
from sidecar.formats.base import Format
from sidecar.formats.catalog import build_format
from sidecar.model.finding import Action

TOKEN = "ZEBRA-phoenix-7731"
KEY = "AKIA" + "Q3EGRIJ7SNNH2LKP"
CARD = "4111111111111111"
CALL = {"id": TOKEN, "type": "function", "function": {"name": "f", "arguments": "{}"}}
ANSWERS: list[tuple[str, str, dict[str, Any], str]] = [
    ("openai", "/v1/chat/completions", {"id": TOKEN, "choices": []}, "id"),
    ("openai", "/v1/chat/completions", {"system_fingerprint": TOKEN, "choices": []}, "system_fingerprint"),
    (
        "openai",
        "/v1/chat/completions",
        {"choices": [{"message": {"content": "x", "tool_calls": [CALL]}}]},
        "choices[0].message.tool_calls[0].id",
    ),
    ("openai", "/v1/responses", {"id": TOKEN, "output": []}, "id"),
    (
        "openai",
        "/v1/responses",
        {"output": [{"type": "function_call", "call_id": TOKEN, "name": "f", "arguments": "{}"}]},
        "output[0].call_id",
    ),
    ("anthropic", "/v1/messages", {"id": TOKEN, "content": []}, "id"),
    (
        "anthropic",
        "/v1/messages",
        {"content": [{"type": "tool_use", "id": TOKEN, "name": "f", "input": {}}]},
        "content[0].id",
    ),
    (
        "anthropic",
        "/v1/messages",
        {"content": [{"type": "thinking", "thinking": "x", "signature": TOKEN}]},
        "content[0].signature",
    ),
    ("ollama", "/api/chat", {"model": TOKEN, "message": {"content": "x"}, "done": True}, "model"),
    ("mcp", "/mcp", {"jsonrpc": "2.0", "id": TOKEN, "result": {}}, "id"),
    (
        "mcp",
        "/mcp",
        {"jsonrpc": "2.0", "id": 1, "result": {"contents": [{"uri": "file:///a", "blob": TOKEN}]}},
        "result.contents[0].blob",
    ),
    ("kserve_v2", "/v2/models/m/infer", {"model_name": TOKEN, "outputs": []}, "model_name"),
    ("kserve_v1", "/v1/models/m:predict", {"predictions": [{"b64": TOKEN}]}, "predictions[0].b64"),
]
EVENTS: list[tuple[str, str, list[dict[str, Any]], str]] = [
    ("openai", "/v1/chat/completions", [{"id": TOKEN, "choices": [{"delta": {"content": "x"}}]}], "id"),
    (
        "openai",
        "/v1/chat/completions",
        [
            {"id": "c", "choices": []},
            {"id": "c", "choices": [{"delta": {"tool_calls": [{"index": 0, **CALL}]}}]},
        ],
        "choices[0].delta.tool_calls[0].id",
    ),
    (
        "openai",
        "/v1/responses",
        [{"type": "response.output_text.delta", "item_id": TOKEN, "delta": "x"}],
        "item_id",
    ),
    ("openai", "/v1/responses", [{"type": "response.created", "response": {"id": TOKEN}}], "response.id"),
    ("anthropic", "/v1/messages", [{"type": "message_start", "message": {"id": TOKEN}}], "message.id"),
    (
        "anthropic",
        "/v1/messages",
        [{"type": "content_block_delta", "delta": {"type": "signature_delta", "signature": TOKEN}}],
        "delta.signature",
    ),
    ("ollama", "/api/chat", [{"model": TOKEN, "message": {"content": "x"}}], "model"),
    ("mcp", "/mcp", [{"jsonrpc": "2.0", "id": TOKEN, "result": {}}], "id"),
    (
        "mcp",
        "/mcp",
        [{"jsonrpc": "2.0", "id": 1, "result": {"contents": [{"uri": "file:///a", "blob": TOKEN}]}}],
        "result.contents[0].blob",
    ),
]


def body_format(protocol: str) -> Format:
    model = GuardModel(name="m", protocol=protocol)  # type: ignore[arg-type]
    plan = GuardPlan(id="1.1", policy="a/b", revision=1, model=model, tenants=("t",), output=(Pii(),))
    return build_format(plan)


@pytest.mark.parametrize(
    ("action", "does"), [("redact", Action.DENY), ("cut", Action.CUT), ("flag", Action.FLAG)]
)
@pytest.mark.parametrize(("protocol", "path", "answer", "place"), ANSWERS)
def test_a_canary_in_an_answers_identifier_is_found_and_never_edited(
    protocol: str, path: str, answer: dict[str, Any], place: str, action: Any, does: Action
) -> None:
    body = json.dumps(answer).encode()
    document = body_format(protocol).decode_answer(path, "application/json", body)
    result = inspect_document(document, build_checks((Canary(tokens=(TOKEN,), action=action),)), shadow=False)
    assert [(finding.location, finding.action) for finding in result.findings] == [(place, does)]
    assert document.encode() == body


def streamed(
    protocol: str, path: str, events: list[dict[str, Any]], action: Any
) -> tuple[StreamInspector, bytes]:
    lines = protocol == "ollama"
    kind = "application/x-ndjson" if lines else "text/event-stream"
    stream = body_format(protocol).answer_stream(path, kind)
    assert stream is not None
    checks = build_checks((Canary(tokens=(TOKEN,), action=action), Secrets(action="redact")))
    inspector = StreamInspector(stream, checks, shadow=False, decision_id="d1")
    written = [json.dumps(event).encode() for event in events]
    data = b"".join(b"%s\n" % line if lines else b"data: %s\n\n" % line for line in written)
    return inspector, inspector.feed(data, end=True).data


@pytest.mark.parametrize(("protocol", "path", "events", "place"), EVENTS)
def test_a_canary_in_a_streams_identifier_ends_it_and_is_not_said_by_its_end(
    protocol: str, path: str, events: list[dict[str, Any]], place: str
) -> None:
    inspector, out = streamed(protocol, path, events, "redact")
    assert [(finding.location, finding.action) for finding in inspector.findings] == [(place, Action.CUT)]
    assert TOKEN.encode() not in out
    assert inspector.feed(b"data: {}\n\n", end=False).cut
    assert inspector.scanned_bytes == inspector.total_bytes


@pytest.mark.parametrize(("protocol", "path", "events", "place"), EVENTS)
def test_a_flagged_identifier_flows(
    protocol: str, path: str, events: list[dict[str, Any]], place: str
) -> None:
    inspector, out = streamed(protocol, path, events, "flag")
    assert [(finding.location, finding.action) for finding in inspector.findings] == [(place, Action.FLAG)]
    assert TOKEN.encode() in out


def test_ids_of_a_request_are_read_for_secrets_but_not_as_numbers_of_cards() -> None:
    def result(call_id: str) -> Any:
        call = {"id": call_id, "type": "function", "function": {"name": "f", "arguments": "{}"}}
        messages = [
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call_id, "content": f"paid by {CARD}"},
        ]
        body = json.dumps({"model": "m", "messages": messages}).encode()
        document = body_format("openai").decode_request("/v1/chat/completions", "application/json", body)
        made = inspect_document(
            document, build_checks((Pii(), Secrets(action="redact"))), shadow=False, keep_fixed=True
        )
        return made.action, json.loads(document.encode())["messages"]

    action, messages = result(CARD)
    assert action is Action.REDACT
    assert messages[0]["tool_calls"][0]["id"] == messages[1]["tool_call_id"] == CARD
    assert messages[1]["content"] == "paid by [CARD]"
    action, _ = result(KEY)
    assert action is Action.DENY


def test_an_id_deep_in_a_tools_arguments_is_text_like_any_other() -> None:
    call = {"function": {"name": "f", "arguments": json.dumps({"id": CARD})}}
    body = json.dumps({"choices": [{"message": {"tool_calls": [call]}}]}).encode()
    document = body_format("openai").decode_answer("/v1/chat/completions", "application/json", body)
    inspect_document(document, build_checks((Pii(),)), shadow=False)
    assert CARD.encode() not in document.encode()


def test_a_canary_is_no_identifier_of_checks_that_do_not_read_them() -> None:
    body = json.dumps({"id": "c1", "choices": [{"message": {"content": "x"}}]}).encode()
    document = body_format("openai").decode_answer("/v1/chat/completions", "application/json", body)
    assert inspect_document(document, build_checks((Pii(),)), shadow=False).scanned_bytes == len("x")
    document = body_format("openai").decode_answer("/v1/chat/completions", "application/json", body)
    both = build_checks((Pii(), Secrets()))
    assert inspect_document(document, both, shadow=False).scanned_bytes == len("xc1")


@pytest.mark.parametrize("text", ["x", TOKEN])
def test_an_identifier_counts_by_where_it_stands_also_when_a_text_says_the_same(text: str) -> None:
    checks = build_checks((Canary(tokens=(TOKEN,), action="redact"),))
    body = json.dumps({"id": TOKEN, "choices": [{"index": 0, "message": {"content": text}}]}).encode()
    document = body_format("openai").decode_answer("/v1/chat/completions", "application/json", body)
    result = inspect_document(document, checks, shadow=False)
    assert ("id", Action.DENY) in {(finding.location, finding.action) for finding in result.findings}


def test_an_escape_in_pieces_of_arguments_that_are_no_json_is_put_together() -> None:
    stream = body_format("openai").answer_stream("/v1/chat/completions", "text/event-stream")
    assert stream is not None
    inspector = StreamInspector(stream, build_checks((Secrets(action="redact"),)), shadow=False)
    out = b""
    for piece in ("hi there ", " ok \\", "u0041KIA" + "Q3EGRIJ7SNNH2LKP", " end"):
        call = {"index": 0, "function": {"arguments": piece}}
        event = {"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}
        out += inspector.feed(b"data: " + json.dumps(event).encode() + b"\n\n", end=False).data
    out += inspector.feed(b"", end=True).data
    assert b"Q3EGRIJ7SNNH2LKP" not in out
    assert [finding.kind for finding in inspector.findings] == ["aws_access_key"]
