"""An event that is read by an earlier one's shape says and becomes what it would if it were read in full."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidecar.formats.anthropic_stream import MessageEvents
from sidecar.formats.base import FormatError, StreamPiece
from sidecar.formats.ollama import OllamaEvents
from sidecar.formats.openai_stream import ChatEvents
from sidecar.formats.responses_stream import ResponseEvents
from sidecar.formats.sse import encode
from tests.support.shaped_events import (
    Reader,
    ReadsAll,
    ReadsAllLines,
    ReadsAllMessages,
    ReadsAllResponses,
    chunk,
    delta,
    event,
    line,
    response,
    stream,
)


def said(reader: Reader, events: list[bytes], *, conceal: bool) -> list[Any]:
    """Every piece, and what goes out for it: as it came, and with another text."""
    one, other = stream(reader, conceal=conceal), stream(reader, conceal=conceal)
    out: list[Any] = []
    for sent in events:
        repeated = one.repeated(sent)
        assert other.repeated(sent) == repeated
        for each in (one, other) if repeated is None else ():
            try:
                each.feed(sent, end=False)
            except FormatError as error:
                return [*out, (error.cause, error.detail)]
        pieces = list(one.events()) if repeated is None else [StreamPiece(texts=(repeated,))]
        out += pieces
        out += [one.take(None) for _ in pieces]
        out += [other.take([f'{part.text}"\\\n\u2028é' for part in piece.texts]) for piece in pieces]
    return [*out, one.cut("d"), other.cut("d")]


TEXTS = st.one_of(
    st.text(max_size=6), st.sampled_from(["word ", "", '"', "\\", "\n", "\x7f", "\u2028", "é", "😀"])
)
NUMBERS = st.one_of(
    st.integers(0, 12),
    st.sampled_from(
        [-1, 10**6 - 1, 10**6, 10**9, 10**10, 10**11, 4111111111111111, 1.5, True, None, "7", "a@b.de"]
    ),
)
PADDINGS = st.sampled_from(
    ["", "ZGF", "lRK2aBv", "msg_1", "a b", 'a"b', "x@y.de", "4111111111111111", "a" * 33, 7, None]
)
AROUND = st.fixed_dictionaries(
    {},
    optional={
        "created": NUMBERS,
        "usage": st.one_of(
            st.none(),
            st.fixed_dictionaries(
                {"prompt_tokens": NUMBERS}, optional={"total_tokens": NUMBERS, "strange": NUMBERS}
            ),
        ),
        "obfuscation": PADDINGS,
    },
)
EVENTS = st.one_of(
    st.builds(chunk, TEXTS, ascii_only=st.booleans()),
    st.builds(chunk, TEXTS, around=AROUND),
    st.builds(chunk, TEXTS, index=st.integers(0, 3), around=st.just({"obfuscation": "ZGF"})),
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


@settings(deadline=None)
@given(st.lists(EVENTS, max_size=12), st.booleans())
@example([chunk("a"), chunk("b"), chunk('c", "content": "d').replace(b"\\", b"")], True)
@example([chunk("a"), chunk("b\n"), chunk("é"), chunk("\x00")], True)
@example([chunk("a"), chunk("b"), chunk("")], True)
@example([chunk("a"), chunk("b"), chunk("c"), chunk("")], True)
@example([chunk("a"), chunk("b"), chunk("c"), chunk("d", around={"created": 2}), chunk("e")], True)
@example([chunk("a"), chunk("b"), chunk("c"), chunk("d").replace(b'"d"', b'"\xff"')], True)
@example([chunk("a"), chunk("b"), chunk("c"), chunk('d", "content": "e').replace(b"\\", b"")], True)
@example([chunk("a"), chunk("b").replace(b'"b"', b'"b\xff"')], True)
@example([chunk("a"), chunk("b", around={"created": 4111111111111111})], True)
@example([chunk("a", around={"usage": {"total_tokens": each}}) for each in (1, 10**6)], True)
@example(
    [chunk("a", around={"obfuscation": each}) for each in ("x", "yZ", "x", "4111111111111111", "a b")], True
)
@example([chunk(text, index=number % 2) for number, text in enumerate("abcdef")], True)
def test_reading_by_shape_changes_nothing(events: list[bytes], conceal: bool) -> None:
    sent = [encode(event) for event in events]
    assert said(ChatEvents, sent, conceal=conceal) == said(ReadsAll, sent, conceal=conceal)


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


@settings(deadline=None)
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


WORDS = st.one_of(
    st.sampled_from(["", "aB3", "msg_1", "canary", "a b", 'a"b', "x@y.de", "a/b+c"]),
    st.text(max_size=3),
    st.integers(0, 3),
)
RESPONSE_EVENTS = st.one_of(
    st.builds(response, TEXTS, NUMBERS, WORDS, kind=st.sampled_from(["output_text", "reasoning_text", "function_call_arguments", "strange"])),
    st.builds(response, TEXTS, st.integers(0, 9), st.sampled_from(["", "aB3", "cD5"])),
    st.builds(response, TEXTS, st.integers(0, 9), output_index=st.integers(0, 1)),
    st.builds(response, TEXTS, st.integers(0, 9), logprobs=st.just([])),
    st.builds(lambda number: event("response.completed", sequence_number=number, response={"id": "r"}), st.integers(0, 9)),
    st.builds(lambda text: event("error", message=text, sequence_number=1), TEXTS),
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(RESPONSE_EVENTS, max_size=12), st.booleans())
@example([response("a", 1, "x"), response("b", 2, "yy"), response("c", 3, "x"), response("d", 4, "")], True)
@example([response("a", 1, "x"), response("b", 2, "y"), response("c", 10**9, "y")], True)
def test_reading_responses_by_shape_changes_nothing(events: list[bytes], conceal: bool) -> None:
    assert said(ResponseEvents, events, conceal=conceal) == said(ReadsAllResponses, events, conceal=conceal)


LINES = st.one_of(
    st.builds(line, TEXTS, WORDS, key=st.sampled_from(["content", "thinking", "strange"])),
    st.builds(line, TEXTS, st.sampled_from(["2026-11-30T13:00:00.2Z", "2026-11-30T13:00:00.3Z", "assistant", "m"])),
    st.builds(line, TEXTS, tool_calls=st.just([{"function": {"name": "f", "arguments": {}}}])),
    st.builds(line, TEXTS, done=st.just(True)),
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(LINES, max_size=12), st.booleans())
@example([line("a", "1"), line("b", "2"), line("c", "2"), line("2", "2"), line("d", "assistant")], True)
def test_reading_lines_by_shape_changes_nothing(events: list[bytes], conceal: bool) -> None:
    assert said(OllamaEvents, events, conceal=conceal) == said(ReadsAllLines, events, conceal=conceal)
