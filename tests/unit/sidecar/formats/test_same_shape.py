"""An event that is read by an earlier one's shape says and becomes what it would if it were read in full."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bartizan.policy.checks import Canary
from sidecar.checks.catalog import build_checks
from sidecar.checks.stream import StreamInspector
from sidecar.formats.anthropic_stream import MessageEvents
from sidecar.formats.base import FormatError, StreamPiece
from sidecar.formats.event_stream import JsonEventStream
from sidecar.formats.json_text import DEFAULT_DEPTH
from sidecar.formats.ndjson import LineSplitter
from sidecar.formats.ollama import OllamaEvents
from sidecar.formats.openai_stream import ChatEvents
from sidecar.formats.responses_stream import ResponseEvents
from sidecar.formats.same_shape import _KEPT, _PATIENCE, NO_ASIDES, LastShapes
from sidecar.formats.sse import EventSplitter, encode


class ReadsAll(ChatEvents):
    """The same protocol without shapes."""

    repeats = False


class ReadsAllMessages(MessageEvents):
    """The same protocol without shapes."""

    repeats = False


class ReadsAllResponses(ResponseEvents):
    """The same protocol without shapes."""

    repeats = False


class ReadsAllLines(OllamaEvents):
    """The same protocol without shapes."""

    repeats = False


Reader = type[ChatEvents | MessageEvents | ResponseEvents | OllamaEvents]


def stream(reader: Reader, *, conceal: bool = True) -> JsonEventStream:
    if issubclass(reader, ChatEvents):
        return JsonEventStream(reader(legacy=False), EventSplitter(), conceal=conceal)
    if issubclass(reader, OllamaEvents):
        return JsonEventStream(reader(DEFAULT_DEPTH, chat=True), LineSplitter(), conceal=conceal)
    made = reader(DEFAULT_DEPTH) if issubclass(reader, ResponseEvents) else reader()
    return JsonEventStream(made, EventSplitter(), conceal=conceal)


def chunk(
    text: Any,
    *,
    index: int = 0,
    key: str = "content",
    ascii_only: bool = True,
    around: dict[str, Any] | None = None,
    **more: Any,
) -> bytes:
    choice = {"index": index, "delta": {key: text}, "finish_reason": None, **more}
    value = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "choices": [choice]}
    return json.dumps({**value, **(around or {})}, ensure_ascii=ascii_only).encode()


def said(reader: Reader, events: list[bytes], *, conceal: bool) -> list[Any]:
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


def response(
    text: Any, number: Any = None, padding: Any = None, *, kind: str = "output_text", **more: Any
) -> bytes:
    value = {
        "type": f"response.{kind}.delta",
        "item_id": "msg_1",
        "output_index": 0,
        "content_index": 0,
        "delta": text,
        **more,
    }
    value |= {} if number is None else {"sequence_number": number}
    value |= {} if padding is None else {"obfuscation": padding}
    return encode(json.dumps(value).encode(), value["type"].encode())


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


def line(
    text: Any, time: Any = "2026-11-30T13:00:00.1Z", *, key: str = "content", done: bool = False, **more: Any
) -> bytes:
    message = {"role": "assistant", key: text, **more}
    return json.dumps({"model": "m", "created_at": time, "message": message, "done": done}).encode() + b"\n"


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


@pytest.mark.parametrize("text", [None, "other"])
@pytest.mark.parametrize("reader", [ResponseEvents, ReadsAllResponses])
def test_events_of_a_shape_move_up_behind_one_that_was_put_in(reader: Reader, text: str | None) -> None:
    answers = stream(reader)
    events = [response("a", 4), response("b", 5), response("c", 6).replace(b'"c"', '"\u2028"'.encode())]
    answers.feed(b"".join(events), end=False)
    first = answers.events()[0]
    out = answers.take(None) + answers.closing([first.texts[0]])
    out += answers.take(None if text is None else [text])
    assert answers.take(None) == events[2].replace(b"6", b"7"), "nothing but its number"
    numbers = [
        json.loads(each.partition(b"data: ")[2])["sequence_number"] for each in out.split(b"\n\n")[:-1]
    ]
    assert numbers == [4, 5, 6]
    assert (b'"other"' in out, b'"b"' in out) == ((False, True) if text is None else (True, False))


@pytest.mark.parametrize(
    ("reader", "events"),
    [
        (ChatEvents, [encode(chunk("a")), encode(chunk("b"))]),
        (ChatEvents, [encode(chunk(text, around={"obfuscation": word})) for text, word in (("a", "ZGF"), ("b", ""))]),
        (ChatEvents, [encode(chunk(text, around={"created": at, "usage": {"total_tokens": at}})) for text, at in (("a", 9), ("b", 10))]),
        (MessageEvents, [delta("a"), delta("b")]),
        (ResponseEvents, [response("a", 9, "x"), response("b", 10, "yz")]),
        (OllamaEvents, [line("a", "2026-11-30T13:00:00.1Z"), line("b", "2026-11-30T13:00:01Z")]),
    ],
)  # fmt: skip
def test_the_second_event_of_a_shape_is_not_read_again(reader: Reader, events: list[bytes]) -> None:
    answers = stream(reader)
    answers.feed(b"".join(events), end=False)
    first, second = answers._chunks
    assert first.alike is None
    assert second.alike is not None
    assert [part.text for part in second.piece.texts] == ["b"]


@pytest.mark.parametrize(
    "piece",
    [
        lambda text, number: encode(chunk(text, index=number)),
        lambda text, number: response(text, 9, "x", item_id=f"msg_{number}", output_index=number),
    ],
)
@pytest.mark.parametrize("many", [2, _KEPT])
def test_text_streams_that_come_in_turn_are_read_by_shape(
    many: int, piece: Callable[[str, int], bytes]
) -> None:
    answers = stream(ResponseEvents if b"response." in piece("a", 0) else ChatEvents)
    for text in "abc":
        answers.feed(b"".join(piece(text, number) for number in range(many)), end=False)
    read = [each.alike is not None for each in answers._chunks]
    assert read == [False] * many + [True] * 2 * many
    assert [part.text for each in answers.events() for part in each.texts] == [
        text for text in "abc" for _ in range(many)
    ]


def test_what_was_held_back_goes_out_as_the_item_that_was_said_last() -> None:
    answers = stream(ResponseEvents)
    for item in ("msg_1", "msg_2", "msg_1"):
        answers.feed(response("a", item_id=item), end=False)
    (held,) = answers.events()[-1].texts
    (out,) = answers.closing([held]).split(b"\n\n")[:-1]
    assert json.loads(out.partition(b"data: ")[2])["item_id"] == "msg_1"


def test_streams_whose_events_never_repeat_are_no_longer_asked_for_their_shape() -> None:
    shapes = LastShapes(NO_ASIDES, lambda _said: None)
    piece = StreamPiece(texts=())
    read = stream(ChatEvents)
    for number in range(_PATIENCE + 1):
        data = chunk("a").replace(b"chatcmpl-1", b"chatcmpl-%d" % number)
        assert shapes.find(data) is None
        read.feed(encode(data), end=False)
        piece = read.events()[-1]
        shapes.learn(data.decode(), json.loads(data), ("choices", 0, "delta", "content"), piece, None)
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
