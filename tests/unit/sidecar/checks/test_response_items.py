"""The Responses API: calls and structured texts are judged wherever the protocol says them, whole and streamed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bartizan.policy.checks import Pii, Structured, Tools
from sidecar.checks.catalog import build_checks
from sidecar.checks.content import inspect_document
from sidecar.checks.stream import StreamInspector
from sidecar.formats.openai import OpenAIFormat

PATH = "/v1/responses"
SCHEMA = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
TOOLS = build_checks((Pii(), Tools(allow=("find", "free", "web_search"), schemas={"find": SCHEMA})))
MOOD = build_checks((Structured(schema={"type": "object", "required": ["mood"]}),))
GOOD, BAD = '{"q": "x"}', '{"p": 1}'
FINE = '{"mood": "calm"}'


def function(name: str, arguments: str) -> dict[str, Any]:
    return {"type": "function_call", "id": "fc_1", "call_id": "c_1", "name": name, "arguments": arguments}


def message(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


CALLS: list[tuple[dict[str, Any], set[str]]] = [
    (function("find", GOOD), set()),
    (function("find", BAD), {"tool_arguments"}),
    (function("free", BAD), set()),
    (function("steal", GOOD), {"tool_not_allowed"}),
    ({"type": "custom_tool_call", "name": "free", "input": "x"}, set()),
    ({"type": "custom_tool_call", "name": "steal", "input": "x"}, {"tool_not_allowed"}),
    ({"type": "mcp_call", "name": "steal", "arguments": "{}"}, {"tool_not_allowed"}),
    ({"type": "web_search_call", "status": "completed"}, set()),
    ({"type": "local_shell_call", "action": {"command": ["ls"]}}, {"tool_not_allowed"}),
    ({"type": "function_call", "arguments": GOOD}, {"tool_without_name"}),
]


@pytest.mark.parametrize(("item", "kinds"), CALLS)
def test_calls_of_a_whole_response_are_judged(item: dict[str, Any], kinds: set[str]) -> None:
    body = json.dumps({"object": "response", "output": [message("hi"), item]}).encode()
    document = OpenAIFormat().decode_answer(PATH, "application/json", body)
    result = inspect_document(document, TOOLS, shadow=False)
    assert {finding.kind for finding in result.findings} == kinds


def streamed(
    item: dict[str, Any], *, said: dict[str, Any] | None = None, step: int = 4
) -> list[dict[str, Any]]:
    """As an engine sends one item; `said`: the item as the events after its deltas say it."""
    said = said or item
    stream = {"function_call": "function_call_arguments", "custom_tool_call": "custom_tool_call_input"}
    key = {"function_call": "arguments", "custom_tool_call": "input"}.get(item["type"])
    begun = {**item, **({key: ""} if key else {})}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {"id": "r", "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": begun},
    ]
    if key:
        place = {"output_index": 0, "item_id": "fc_1"}
        kind, text = f"response.{stream[item['type']]}", item[key]
        events += [
            {"type": f"{kind}.delta", **place, "delta": text[at : at + step]}
            for at in range(0, len(text), step)
        ]
        events.append({"type": f"{kind}.done", **place, key: said[key]})
    if item["type"] == "message":
        del begun["content"]
        place = {"output_index": 0, "content_index": 0}
        text = item["content"][0]["text"]
        events += [
            {"type": "response.output_text.delta", **place, "delta": text[at : at + step]}
            for at in range(0, len(text), step)
        ]
        last = said["content"][0]
        events.append({"type": "response.output_text.done", **place, "text": last["text"]})
        events.append({"type": "response.content_part.done", **place, "part": last})
    events.append({"type": "response.output_item.done", "output_index": 0, "item": said})
    events.append(
        {"type": "response.completed", "response": {"id": "r", "status": "completed", "output": [said]}}
    )
    return events


def inspected(events: list[dict[str, Any]], checks: Any, *, shadow: bool = False) -> tuple[Any, bytes, bool]:
    stream = OpenAIFormat().answer_stream(PATH, "text/event-stream")
    assert stream is not None
    inspector = StreamInspector(stream, checks, shadow=shadow, decision_id="d1")
    out, cut = b"", False
    for event in events:
        made = inspector.feed(
            b"event: %s\ndata: %s\n\n" % (event["type"].encode(), json.dumps(event).encode()), end=False
        )
        out, cut = out + made.data, cut or made.cut
    made = inspector.feed(b"", end=True)
    return inspector, out + made.data, cut or made.cut


def said_in(out: bytes) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in out.decode().splitlines() if line.startswith("data: {")]


@pytest.mark.parametrize(("item", "kinds"), CALLS[:6] + CALLS[7:9])
@pytest.mark.parametrize("shadow", [False, True])
def test_calls_of_a_stream_are_judged_before_they_are_out(
    item: dict[str, Any], kinds: set[str], *, shadow: bool
) -> None:
    events = streamed(item)
    inspector, out, cut = inspected(events, TOOLS, shadow=shadow)
    assert {finding.kind for finding in inspector.findings} == kinds
    assert cut is (bool(kinds) and not shadow)
    if cut:
        assert b"steal" not in out
        assert b"local_shell" not in out
        assert b'\\"p\\"' not in out
    else:
        key = "arguments" if "arguments" in item else "input"
        deltas = "".join(str(event.get("delta", "")) for event in said_in(out))
        assert deltas == item.get(key, "")
        assert said_in(out)[-1]["type"] == "response.completed"


@pytest.mark.parametrize("said", [function("find", BAD), function("steal", GOOD)])
def test_a_call_that_is_said_otherwise_after_its_deltas_is_judged_again(said: dict[str, Any]) -> None:
    _, out, cut = inspected(streamed(function("find", GOOD), said=said), TOOLS)
    assert cut
    assert b"steal" not in out
    assert b'\\"p\\"' not in out


@pytest.mark.parametrize("kind", [{}, [], 1, None])
def test_an_item_whose_type_is_none_is_read_as_a_message(kind: object) -> None:
    item = {"type": kind, "content": [{"text": BAD}]}
    said = {"type": "response.output_item.done", "output_index": 0, "item": item}
    _, out, cut = inspected([said], MOOD)
    assert cut
    assert BAD.encode() not in out


def test_arguments_of_a_call_are_redacted_and_judged_so() -> None:
    item = function("find", '{"q": "jane@example.org"}')
    _, out, cut = inspected(streamed(item), TOOLS)
    assert not cut
    assert b"jane@example.org" not in out
    assert "".join(event.get("delta", "") for event in said_in(out)) == '{"q": "[EMAIL]"}'


TEXTS = [(FINE, True), ("{}", False), ("no JSON", False)]


@pytest.mark.parametrize(("text", "fits"), TEXTS)
def test_a_structured_text_is_judged_whole(text: str, *, fits: bool) -> None:
    body = json.dumps({"output": [message(text)]}).encode()
    document = OpenAIFormat().decode_answer(PATH, "application/json", body)
    result = inspect_document(document, MOOD, shadow=False)
    assert [finding.kind for finding in result.findings] == ([] if fits else ["schema_mismatch"])


@pytest.mark.parametrize("output", [[], [{"type": "reasoning", "summary": []}], [message("")]])
def test_a_response_that_says_nothing_does_not_fit(output: list[Any]) -> None:
    body = json.dumps({"status": "completed", "output": output}).encode()
    document = OpenAIFormat().decode_answer(PATH, "application/json", body)
    assert inspect_document(document, MOOD, shadow=False).findings
    done = {"type": "response.completed", "response": {"id": "r", "output": output}}
    assert inspected([done], MOOD)[2]
    assert not inspected([{**done, "type": "response.failed"}], MOOD)[2]


@pytest.mark.parametrize(("text", "fits"), TEXTS)
def test_a_streamed_structured_text_is_judged_before_it_is_out(text: str, *, fits: bool) -> None:
    _, out, cut = inspected(streamed(message(text)), MOOD)
    assert cut is not fits
    deltas = "".join(str(event.get("delta", "")) for event in said_in(out))
    assert deltas == (text if fits else "")
    if cut:
        assert said_in(out)[-1]["type"] == "response.incomplete"


def test_a_structured_text_that_is_said_otherwise_after_its_deltas_is_judged_again() -> None:
    _, out, cut = inspected(streamed(message(FINE), said=message("{}")), MOOD)
    assert cut
    assert "response.completed" not in out.decode()


def test_the_form_that_a_request_asks_for_defines_its_task_and_its_other_members_do_not() -> None:
    form = {"type": "json_schema", "name": "mood", "schema": {"description": "how it feels"}}
    body = json.dumps({"input": "hi", "text": {"format": form, "note": "be kind"}}).encode()
    document = OpenAIFormat().decode_request(PATH, "application/json", body)
    roles = {part.text: part.role for part in document.texts()}
    assert (roles["how it feels"], roles["be kind"], roles["hi"]) == ("definition", "user", "user")
