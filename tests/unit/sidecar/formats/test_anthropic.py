"""The Anthropic protocol's rules: what is refused, what hides nothing, and how each cut ends for the client."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bartizan.policy.checks import Canary, Pii
from sidecar.checks.base import CheckSet
from sidecar.checks.detectors import canary, pii
from sidecar.checks.stream import StreamInspector, StreamOutput
from sidecar.formats.anthropic import AnthropicFormat
from sidecar.formats.anthropic_stream import anthropic_stream
from sidecar.formats.base import Document, FormatError
from sidecar.formats.sse import EventSplitter
from sidecar.model.decision import Cause
from tests.support import anthropic_events as says

JSON = "application/json"
TOKEN = "canary-7f3a9c21"
CHECKS = CheckSet(
    texts=(pii.build(Pii(types=("email",))), canary.build(Canary(tokens=(TOKEN,), action="cut")))
)


def request(body: Any) -> Document:
    return AnthropicFormat().decode_request("/v1/messages", JSON, json.dumps(body).encode())


def block(content: Any) -> Any:
    return {"messages": [{"role": "user", "content": [content]}]}


def run(*events: bytes) -> StreamOutput:
    return StreamInspector(anthropic_stream(), CHECKS, shadow=False, decision_id="d1").feed(
        b"".join(events), end=True
    )


def kinds(data: bytes) -> list[str]:
    return [json.loads(event.data)["type"] for event in EventSplitter().feed(data, end=True) if event.data]


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"messages": "x"},
        {"messages": ["x"]},
        {"messages": [{"role": "system", "content": "x"}]},
        {"messages": [{"content": "x"}]},
        {"messages": [{"role": "user", "content": 1}]},
        {"messages": [{"role": "user", "content": ["x"]}]},
        {"messages": [{"role": "user", "content": [{"text": "x"}]}]},
        {"messages": [{"role": "user", "content": [{"type": ["text"], "text": "x"}]}]},
        {"system": 1, "messages": []},
        {"max_tokens": "9"},
        {"stream": 1},
        {"Model": "x"},
        {"\u017fystem": "x"},
        block({"type": "text", "text": {"a": "x"}}),
        block({"type": "thinking", "thinking": ["x"]}),
    ],
)
def test_unexpected_types_are_refused(body: Any) -> None:
    with pytest.raises(FormatError) as caught:
        request(body)
    assert caught.value.cause is Cause.MALFORMED_BODY


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"type": "new", "deep": [{"x": "t"}]}, ["new", "deep", "x", "t"]),
        ({"type": "tool_use", "id": "i", "name": "n", "input": {"k": [4111111111111111]}}, ["n", "k", "4111111111111111", "i"]),
        ({"type": "tool_result", "tool_use_id": "i", "content": "r"}, ["r", "i"]),
        ({"type": "tool_result", "tool_use_id": "i", "content": {"odd": "r"}}, ["i", "odd", "r"]),
        ({"type": "thinking", "thinking": "t", "signature": "not sealed"}, ["t", "not sealed"]),
        ({"type": "redacted_thinking", "data": "not sealed"}, ["not sealed"]),
        ({"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "r"}]}, ["t", "s", "r"]),
        ({"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "d"}]}}, ["d"]),
        ({"type": "image", "source": {"type": "url", "url": "http://x"}}, ["http://x"]),
    ],
)  # fmt: skip
def test_every_string_of_a_block_is_text(content: Any, expected: list[str]) -> None:
    assert [part.text for part in request(block(content)).texts()] == expected


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ({"type": "image", "source": {"type": "base64", "data": "aGk="}}, "image"),
        ({"type": "document", "source": {"type": "base64", "data": "aGk="}}, "file_data"),
        ({"type": "document", "source": {"type": "base64", "content": "x", "data": "aGk="}}, "file_data"),
        ({"type": "document", "source": {"type": "content", "content": "x", "data": "aGk="}}, "file_data"),
        ({"type": "document", "source": {"type": "url", "url": "http://x", "content": []}}, "file_data"),
        ({"type": "document", "source": {"type": "url", "url": "http://x"}}, "file_data"),
        ({"type": "document", "source": {"type": "text", "data": {"odd": "x"}}}, "file_data"),
    ],
)
def test_what_no_check_reads_is_named(content: Any, kind: str) -> None:
    assert request(block(content)).unscanned() == (kind,) or list(request(block(content)).unscanned()) == [
        kind
    ]


def test_a_result_of_a_tool_has_its_own_role() -> None:
    made = request(block({"type": "tool_result", "content": [{"type": "text", "text": "r"}]}))
    assert [part.role for part in made.texts()] == ["tool"]


def test_a_cut_before_the_message_began_is_an_error_event() -> None:
    output = run(b"data: {broken\n\n", says.start())
    assert (output.cause, kinds(output.data)) == (Cause.ANSWER_MALFORMED, ["error"])


def test_a_cut_ends_only_what_went_out() -> None:
    """Events that were read ahead in the same chunk don't count: the client never gets them."""
    output = run(says.start(), *says.text(0, [f"a {TOKEN}"]), *says.text(1, ["b"]), says.stop())
    assert kinds(output.data) == [
        *("message_start", "ping", "content_block_start", "content_block_delta"),
        *("content_block_stop", "message_delta", "message_stop"),
    ]


def test_a_canary_in_a_tools_name_opens_no_block() -> None:
    output = run(says.start(), *says.tool(0, ["{}"], name=TOKEN), says.stop())
    assert TOKEN.encode() not in output.data
    assert kinds(output.data) == ["message_start", "ping", "message_delta", "message_stop"]


def test_a_stream_that_breaks_off_still_gives_its_held_text() -> None:
    output = run(says.start(), *says.text(0, ["write to jane"])[:2])
    assert kinds(output.data)[-1] == "content_block_delta"
    assert b'"text": "write to "' in output.data
    assert b'"text": "jane"' in output.data


@pytest.mark.parametrize(
    "event",
    [
        says.event("content_block_delta", index=-1, delta={"type": "text_delta", "text": "x"}),
        says.event("content_block_delta", index="0", delta={"type": "text_delta", "text": "x"}),
        says.event("content_block_delta", index=0, delta={"type": "text_delta", "text": ["x"]}),
        says.event("content_block_start", index=0, content_block={"type": 1}),
        b"event: ping\ndata: []\n\n",
    ],
)
def test_a_malformed_event_ends_the_message(event: bytes) -> None:
    output = run(says.start(), event)
    assert (output.cut, output.cause) == (True, Cause.ANSWER_MALFORMED)


def test_unknown_events_and_fields_are_text_and_named() -> None:
    inspector = StreamInspector(anthropic_stream(), CHECKS, shadow=False)
    odd = says.event(
        "content_block_delta", index=0, delta={"type": "new_delta", "whisper": "jane@example.org"}
    )
    out = inspector.feed(says.start() + odd + says.event("later", note="bob@example.org"), end=True).data
    assert b"example.org" not in out
    assert list(inspector.unscanned) == ["unknown_field"]


@pytest.mark.parametrize("kind", [[], {}, ["text_delta"], 1, None])
def test_an_odd_type_in_a_stream_is_read_or_refused(kind: Any) -> None:
    delta = {"type": kind, "text": "ask jane@example.org "}
    for event in ({"type": kind, "x": 1}, {"type": "content_block_delta", "index": 0, "delta": delta}):
        out = run(says.start(), f"data: {json.dumps(event)}\n\n".encode())
        assert b"jane" not in out.data
