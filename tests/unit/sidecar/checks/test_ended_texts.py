"""A text stream that goes on after its end: clients join both, so what was out is judged with what follows."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from bartizan.policy.checks import Canary, Pii, Secrets, Structured
from sidecar.checks.catalog import build_checks
from sidecar.checks.joined_blocks import BorderStage, JoinedBlocks
from sidecar.checks.stream import StreamInspector
from sidecar.formats.anthropic_stream import anthropic_stream
from sidecar.formats.base import AnswerStream
from sidecar.formats.ollama import OllamaFormat
from sidecar.formats.openai_stream import openai_stream
from sidecar.formats.responses_stream import responses_stream

TOKEN = "ZEBRA-phoenix-7731"
KEY = "AKIA" + "Q3EGRIJ7SNNH2LKP"


def event(value: dict[str, Any], kind: str = "") -> bytes:
    head = f"event: {kind}\n" if kind else ""
    return f"{head}data: {json.dumps(value)}\n\n".encode()


def openai(*pieces: str, finish: str | None = "stop") -> list[bytes]:
    """Each piece says that it is the last one."""
    return [
        event({"id": "c", "choices": [{"index": 0, "delta": {"content": one}, "finish_reason": finish}]})
        for one in pieces
    ]


def arguments(*pieces: str) -> list[bytes]:
    calls = [[{"index": 0, "function": {"arguments": one}}] for one in (f'{{"{pieces[0]}', *pieces[1:])]
    return [
        event({"id": "c", "choices": [{"index": 0, "delta": {"tool_calls": call}, "finish_reason": "stop"}]})
        for call in calls
    ]


def done(*pieces: str) -> list[bytes]:
    return [part for one in openai(*pieces, finish=None) for part in (one, b"data: [DONE]\n\n")]


def anthropic(*pieces: str) -> list[bytes]:
    events = []
    for one in pieces:
        delta = {"type": "text_delta", "text": one}
        for kind, more in (("content_block_delta", {"delta": delta}), ("content_block_stop", {})):
            events.append(event({"type": kind, "index": 0, **more}, kind))
    return events


def ollama(*pieces: str) -> list[bytes]:
    said = [{"model": "m", "message": {"role": "assistant", "content": one}, "done": True} for one in pieces]
    return [json.dumps(one).encode() + b"\n" for one in said]


def responses(*pieces: str) -> list[bytes]:
    events = []
    for one in pieces:
        for phase, key in (("delta", "delta"), ("done", "text")):
            kind = f"response.output_text.{phase}"
            said = one if phase == "delta" else "x"
            events.append(event({"type": kind, "output_index": 0, "content_index": 0, key: said}, kind))
    return events


def lines() -> AnswerStream:
    stream = OllamaFormat().answer_stream("/api/chat", "application/x-ndjson")
    assert stream is not None
    return stream


WAYS: dict[str, tuple[Callable[[], AnswerStream], Callable[..., list[bytes]]]] = {
    "openai": (lambda: openai_stream(legacy=False), openai),
    "arguments": (lambda: openai_stream(legacy=False), arguments),
    "done": (lambda: openai_stream(legacy=False), done),
    "anthropic": (anthropic_stream, anthropic),
    "ollama": (lines, ollama),
    "responses": (responses_stream, responses),
}
CHECKS = (Canary(tokens=(TOKEN,), action="redact"), Secrets(action="redact"), Pii())


def answered(way: str, *pieces: str, shadow: bool = False) -> tuple[str, StreamInspector, bool]:
    stream, events = WAYS[way]
    on = StreamInspector(stream(), build_checks(CHECKS), shadow=shadow)
    outputs = [on.feed(one, end=False) for one in events(*pieces)]
    outputs.append(on.feed(b"", end=True))
    return b"".join(output.data for output in outputs).decode(), on, outputs[-1].cut


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("pieces", "check"),
    [
        ((TOKEN[:5], TOKEN[5:]), "canary"),
        ((TOKEN[:5], TOKEN[5:9], TOKEN[9:]), "canary"),
        (tuple(KEY), "secrets"),
        (("jane.roe@", "example.com, she said"), "pii"),
    ],
)
def test_a_match_across_an_end_ends_the_answer(way: str, pieces: tuple[str, ...], check: str) -> None:
    out, on, cut = answered(way, *pieces)
    assert cut
    assert pieces[-1] not in out
    assert [found.check for found in on.findings] == [check]


@pytest.mark.parametrize("way", WAYS)
def test_what_holds_nothing_flows_after_an_end(way: str) -> None:
    out, on, cut = answered(way, "The river ", "was low, ", "7731 they said.")
    assert not cut
    assert not on.findings
    assert all(word in out for word in ("river", "low, ", "7731 they ", "said."))


def test_in_shadow_mode_all_flows_and_the_match_is_told() -> None:
    out, on, _ = answered("openai", TOKEN[:5], TOKEN[5:], shadow=True)
    assert TOKEN[5:] in out
    assert [found.check for found in on.findings] == ["canary"]


def contents(data: bytes) -> str:
    chunks = [json.loads(line[6:]) for line in data.decode().splitlines() if line.startswith("data: {")]
    return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)


def test_an_empty_reason_to_end_is_no_end() -> None:
    """As some servers write it in every piece but the last."""
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    over = build_checks((*CHECKS, Structured(schema=schema)))
    on = StreamInspector(openai_stream(legacy=False), over, shadow=False)
    events = [*openai("", '{"a": "', TOKEN[:5], TOKEN[5:], '"}', finish=""), *openai("")]
    outputs = [on.feed(one, end=False) for one in events]
    assert not outputs[-1].cut
    assert contents(b"".join(output.data for output in outputs)) == '{"a": "[REDACTED]"}'


@pytest.mark.parametrize("size", [1, 200, 10_000, 1_000_000])
def test_what_was_said_last_is_kept_within_a_bound(size: int) -> None:
    stage = BorderStage(JoinedBlocks(()), shadow=False)
    for _ in range(600):
        stage.feed("x" * size, end=False)
        assert sum(map(len, stage._said)) < 200_000
