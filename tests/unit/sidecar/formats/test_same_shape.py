"""An event that is read by an earlier one's shape says and becomes what it would if it were read in full."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bartizan.policy.checks import Canary
from sidecar.checks.catalog import build_checks
from sidecar.checks.stream import StreamInspector
from sidecar.formats.anthropic_stream import MessageEvents
from sidecar.formats.base import FormatError, StreamPiece
from sidecar.formats.event_stream import JsonEventStream
from sidecar.formats.openai_stream import ChatEvents
from sidecar.formats.same_shape import _PATIENCE, LastShape
from sidecar.formats.sse import EventSplitter, encode


class ReadsAll(ChatEvents):
    """The same protocol without shapes."""

    repeats = False


class ReadsAllMessages(MessageEvents):
    """The same protocol without shapes."""

    repeats = False


def stream(reader: type[ChatEvents | MessageEvents], *, conceal: bool = True) -> JsonEventStream:
    made = reader(legacy=False) if issubclass(reader, ChatEvents) else reader()
    return JsonEventStream(made, EventSplitter(), conceal=conceal)


def chunk(text: Any, *, index: int = 0, key: str = "content", ascii_only: bool = True, **more: Any) -> bytes:
    choice = {"index": index, "delta": {key: text}, "finish_reason": None, **more}
    value = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "choices": [choice]}
    return json.dumps(value, ensure_ascii=ascii_only).encode()


def said(reader: type[ChatEvents | MessageEvents], events: list[bytes], *, conceal: bool) -> list[Any]:
    """Every piece, and what goes out for it: as it came, and with another text."""
    one, other = stream(reader, conceal=conceal), stream(reader, conceal=conceal)
    out: list[Any] = []
    for event in events:
        for each in (one, other):
            try:
                each.feed(event, end=False)
            except FormatError as error:
                return [*out, (error.cause, error.detail)]
        pieces: list[StreamPiece] = list(one.events())
        out += pieces
        out += [one.take(None) for _ in pieces]
        out += [other.take([f'{part.text}"\\\n\u2028é' for part in piece.texts]) for piece in pieces]
    return [*out, one.cut("d"), other.cut("d")]


TEXTS = st.one_of(
    st.text(max_size=6), st.sampled_from(["word ", "", '"', "\\", "\n", "\x7f", "\u2028", "é", "😀"])
)
EVENTS = st.one_of(
    st.builds(chunk, TEXTS, ascii_only=st.booleans()),
    st.builds(chunk, TEXTS, index=st.integers(0, 1), key=st.sampled_from(["content", "reasoning", "strange"])),
    st.builds(chunk, TEXTS, finish_reason=st.just("stop")),
    st.builds(chunk, TEXTS, logprobs=st.just({"content": [{"token": "a"}]})),
    st.builds(lambda text: chunk(text).replace(b'"content": "', b'"content": "\xff'), TEXTS),
    st.sampled_from(
        [
            b"[DONE]",
            chunk({"a": 1}),
            chunk("a")[:-1],
            b'{"error": {"message": "x"}}',
            chunk("a").replace(b'"a"', b'"a", "content": "b"'),
            chunk('a", "role": "b').replace(b"\\", b""),
            chunk("x", tool_calls=[{"index": 0, "function": {"arguments": "{"}}]),
        ]
    ),
)  # fmt: skip


@given(st.lists(EVENTS, max_size=12), st.booleans())
@example([chunk("a"), chunk("b"), chunk('c", "content": "d').replace(b"\\", b"")], True)
@example([chunk("a"), chunk("b\n"), chunk("é"), chunk("\x00")], True)
@example([chunk("a"), chunk("b"), chunk("")], True)
@example([chunk("a"), chunk("b").replace(b'"b"', b'"b\xff"')], True)
def test_reading_by_shape_changes_nothing(events: list[bytes], conceal: bool) -> None:
    sent = [encode(event) for event in events]
    assert said(ChatEvents, sent, conceal=conceal) == said(ReadsAll, sent, conceal=conceal)


def delta(
    text: Any, *, index: int = 0, key: str = "text", name: bytes = b"content_block_delta", **more: Any
) -> bytes:
    value = {
        "type": "content_block_delta",
        "index": index,
        "delta": {"type": f"{key}_delta", key: text, **more},
    }
    return encode(json.dumps(value).encode(), name)


def event(kind: str, **members: Any) -> bytes:
    return encode(json.dumps({"type": kind, **members}).encode(), kind.encode())


STARTED = event("message_start", message={"id": "msg_1", "content": [], "usage": {"output_tokens": 1}})
MESSAGE_EVENTS = st.one_of(
    st.builds(delta, TEXTS, index=st.integers(0, 1), key=st.sampled_from(["text", "thinking", "partial_json", "strange"])),
    st.builds(delta, TEXTS, name=st.sampled_from([b"", b"message", b"other", b"content_block_delta"])),
    st.builds(delta, TEXTS, citation=st.just({"cited_text": "x"})),
    st.builds(lambda text: event("content_block_start", index=0, content_block={"type": "text", "text": text}), TEXTS),
    st.builds(lambda text: event("error", error={"type": "overloaded_error", "message": text}), TEXTS),
    st.builds(lambda text: event("strange", said=text), TEXTS),
    st.builds(lambda text: delta(text).replace(b"\n", b"\r\n"), TEXTS),
    st.sampled_from(
        [
            STARTED,
            event("content_block_stop", index=0),
            event("message_delta", delta={"stop_reason": "end_turn"}),
            event("message_stop"),
            event("ping"),
            delta("a").replace(b"data: ", b"data:"),
            b": alive\n" + delta("a"),
        ]
    ),
)  # fmt: skip


BEGUN = event("content_block_start", index=0, content_block={"type": "text", "text": "c"})


@given(st.lists(MESSAGE_EVENTS, max_size=12), st.booleans())
@example(
    [
        delta("a"),
        delta("b"),
        event("content_block_start", index=1, content_block={"type": "text", "text": "c"}),
    ],
    True,
)
@example([STARTED, BEGUN, event("content_block_stop", index=0), BEGUN], True)
def test_reading_messages_by_shape_changes_nothing(events: list[bytes], conceal: bool) -> None:
    assert said(MessageEvents, events, conceal=conceal) == said(ReadsAllMessages, events, conceal=conceal)


@pytest.mark.parametrize(
    ("reader", "events"),
    [(ChatEvents, [encode(chunk("a")), encode(chunk("b"))]), (MessageEvents, [delta("a"), delta("b")])],
)
def test_the_second_event_of_a_shape_is_not_read_again(
    reader: type[ChatEvents | MessageEvents], events: list[bytes]
) -> None:
    answers = stream(reader)
    answers.feed(b"".join(events), end=False)
    first, second = answers._chunks
    assert first.shape is None
    assert second.shape is not None
    assert [part.text for part in second.piece.texts] == ["b"]


def test_streams_whose_events_never_repeat_are_no_longer_asked_for_their_shape() -> None:
    shapes = LastShape()
    piece = StreamPiece(texts=())
    read = stream(ChatEvents)
    for number in range(_PATIENCE + 1):
        data = chunk("a").replace(b'"created": 1', b'"created": %d' % number)
        assert shapes.find(data) is None
        read.feed(encode(data), end=False)
        piece = read.events()[-1]
        shapes.learn(data.decode(), ("choices", 0, "delta", "content"), piece)
    assert shapes.find(data) is None, "the last one was not looked at"


@pytest.mark.parametrize("text", ["\ud800", "a\udfff"])
def test_a_text_that_utf_8_cannot_carry_is_refused(text: str) -> None:
    answers = stream(ChatEvents)
    answers.feed(encode(chunk("a")) + encode(chunk("b")), end=False)
    answers.take(None)
    with pytest.raises(ValueError, match="UTF-8"):
        answers.take([text])


def test_an_id_that_is_told_again_beside_a_text_is_judged_joined() -> None:
    checks = build_checks((Canary(tokens=("ab12cd34ab12cd34",), action="redact"),))
    on = StreamInspector(stream(ChatEvents), checks, shadow=False)
    outputs = []
    for text in ("x", "y"):
        value = {"content": text, "tool_calls": [{"index": 0, "id": "ab12cd34"}]}
        said = {"id": "c", "choices": [{"index": 0, "delta": value}]}
        outputs.append(on.feed(encode(json.dumps(said).encode()), end=False))
    assert [output.cut for output in outputs] == [False, True]
