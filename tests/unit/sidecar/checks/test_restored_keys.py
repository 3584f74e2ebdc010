"""Tokens in keys of a tool's arguments are put back like any others, and validators see what the client gets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bartizan.policy.checks import Secrets, Tools
from sidecar.checks.base import CheckSet
from sidecar.checks.catalog import build_checks
from sidecar.checks.content import inspect_document
from sidecar.checks.scope import Scope
from sidecar.checks.stream import StreamInspector
from sidecar.formats.anthropic import AnthropicFormat
from sidecar.formats.base import Format
from sidecar.formats.ollama import OllamaFormat
from sidecar.formats.openai import OpenAIFormat

SAID = 'ja"ne@x.example'
OTHER = "b@x.example"
GIVEN = {"<EMAIL_1>": 1, "to <EMAIL_2>": {"<EMAIL_2>": "<EMAIL_1>"}}
WANTED = {SAID: 1, f"to {OTHER}": {OTHER: SAID}}
WRITTEN = json.dumps(GIVEN)
ITEM = {"type": "function_call", "name": "f", "arguments": WRITTEN}
CHAT, MESSAGES, OLLAMA, RESPONSES = "/v1/chat/completions", "/v1/messages", "/api/chat", "/v1/responses"


def bound(*checks: Any) -> CheckSet:
    scope = Scope(tenant="t", keys={})
    assert [scope.tokens.token("email", said) for said in (SAID, OTHER)] == ["<EMAIL_1>", "<EMAIL_2>"]
    return build_checks((Secrets(), *checks), restores=True).bound(scope)


def called(out: bytes) -> str:
    """All strings and objects of arguments in these lines, joined as a client joins them."""
    made = ""
    for line in out.decode().splitlines():
        stack: list[Any] = [json.loads(line.removeprefix("data: "))] if "{" in line else []
        while stack:
            here = stack.pop()
            for key, value in here.items() if isinstance(here, dict) else ():
                if key in {"arguments", "input"}:
                    made += value if isinstance(value, str) else json.dumps(value)
                else:
                    stack.append(value)
            stack += here if isinstance(here, list) else []
    return made


WHOLE: list[tuple[Format, str, Any]] = [
    (OpenAIFormat(), CHAT, {"choices": [{"message": {"tool_calls": [{"function": ITEM}]}}]}),
    (OpenAIFormat(), RESPONSES, {"output": [ITEM]}),
    (AnthropicFormat(), MESSAGES, {"content": [{"type": "tool_use", "name": "f", "input": GIVEN}]}),
    (OllamaFormat(), OLLAMA, {"message": {"tool_calls": [{"function": {"name": "f", "arguments": GIVEN}}]}}),
]


@pytest.mark.parametrize(("body_format", "path", "answer"), WHOLE)
def test_keys_of_a_whole_answer_are_restored(body_format: Format, path: str, answer: Any) -> None:
    document = body_format.decode_answer(path, "application/json", json.dumps(answer).encode())
    inspect_document(document, bound(), shadow=False)
    assert json.loads(called(document.encode())) == WANTED


def deltas(size: int) -> list[Any]:
    pieces = [WRITTEN[at : at + size] for at in range(0, len(WRITTEN), size)]
    return [
        {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}}]}
        for piece in pieces
    ]


BLOCK = {"type": "tool_use", "name": "f", "input": GIVEN}
STREAMS: list[tuple[Format, str, list[Any]]] = [
    *((OpenAIFormat(), CHAT, deltas(size)) for size in (1, 3, 7, 100)),
    (OpenAIFormat(), RESPONSES, [{"type": "response.output_item.done", "item": ITEM}]),
    (AnthropicFormat(), MESSAGES, [{"type": "content_block_start", "index": 0, "content_block": BLOCK}]),
    (OllamaFormat(), OLLAMA, [WHOLE[-1][2]]),
]


def streamed(body_format: Format, path: str, events: list[Any], checks: CheckSet) -> tuple[bytes, bool]:
    lines = path == OLLAMA
    stream = body_format.answer_stream(path, "application/x-ndjson" if lines else "text/event-stream")
    assert stream is not None
    inspector = StreamInspector(stream, checks, shadow=False)
    ends = b"%s\n" if lines else b"data: %s\n\n"
    made = inspector.feed(b"".join(ends % json.dumps(event).encode() for event in events), end=True)
    return made.data, made.cut


@pytest.mark.parametrize(("body_format", "path", "events"), STREAMS)
def test_keys_of_a_stream_are_restored(body_format: Format, path: str, events: list[Any]) -> None:
    out, cut = streamed(body_format, path, events, bound())
    assert not cut
    assert json.loads(called(out)) == WANTED


@pytest.mark.parametrize(("body_format", "path", "events"), STREAMS[-2:])
@pytest.mark.parametrize(("keys", "fits"), [([*WANTED], True), ([*GIVEN], False)])
def test_an_object_that_comes_whole_is_judged_as_the_client_gets_it(
    body_format: Format, path: str, events: list[Any], keys: list[str], fits: bool
) -> None:
    schema = {"type": "object", "required": keys}
    _, cut = streamed(body_format, path, events, bound(Tools(allow=("f",), schemas={"f": schema})))
    assert cut is not fits
