"""Which shapes of events are kept, for how long, and what goes out for those that are read by one."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from bartizan.policy.checks import Canary
from sidecar.checks.catalog import build_checks
from sidecar.checks.stream import StreamInspector
from sidecar.formats.anthropic_stream import MessageEvents
from sidecar.formats.base import StreamPiece
from sidecar.formats.ollama import OllamaEvents
from sidecar.formats.openai_stream import ChatEvents
from sidecar.formats.responses_stream import ResponseEvents
from sidecar.formats.same_shape import _KEPT, _PATIENCE, LONGEST, NO_ASIDES, LastShapes
from sidecar.formats.sse import encode
from tests.support.shaped_events import (
    Reader,
    ReadsAllResponses,
    chunk,
    delta,
    line,
    response,
    stream,
)


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


COUNTED = [encode(chunk("a", around={"created": number})) for number in range(3)]
PADDED = [encode(chunk("a", around={"obfuscation": "ZGF"}))] * 3


@pytest.mark.parametrize(
    ("reader", "chunks", "says"),
    [
        (ChatEvents, [encode(chunk(text)) for text in "abc"], "c"),
        (ChatEvents, [encode(chunk(text, ascii_only=False)) for text in "abé"], "é"),
        (MessageEvents, [delta(text) for text in "abc"], "c"),
        (ChatEvents, [encode(chunk("a")) + encode(chunk("b")), encode(chunk("c"))], "c"),
        (ChatEvents, [encode(chunk("a")), encode(chunk("b"))[:9], encode(chunk("b"))[9:], encode(chunk("c"))], "c"),
        (ChatEvents, [encode(chunk("a")), b"id: 7\n" + encode(chunk("b")), encode(chunk("c"))], "c"),
        (ChatEvents, [encode(chunk("a")), encode(chunk("b")), b"id: 7\n" + encode(chunk("c"))], None),
        (ChatEvents, [encode(chunk("a")), encode(chunk("b")), encode(chunk("c"))[:-1]], None),
        (ChatEvents, [encode(chunk("a")), encode(chunk("b")), encode(chunk("c")) * 2], None),
        (ChatEvents, [encode(chunk("a")), encode(chunk("b")), encode(chunk("c"))[:-2] + b"\r\n\r\n"], None),
        (ChatEvents, [encode(chunk(text)).replace(b"\n", b"\r") for text in "abbb"], None),  # a line feed may follow
        (ChatEvents, [encode(chunk("a")), encode(chunk("b")), encode(chunk(""))], None),
        (ChatEvents, [encode(chunk("a")), encode(chunk("b")), encode(chunk("c")) + b"data: {"], None),
        (ChatEvents, [encode(chunk("a")), encode(chunk("b")) + b"data: {", encode(chunk("c"))], None),
        (ChatEvents, [encode(chunk("a")), encode(chunk("b")), encode(chunk("c\n"))], None),
        (ChatEvents, [encode(chunk("a")), encode(chunk("b")), encode(chunk("c" * LONGEST))], None),
        (ChatEvents, [encode(chunk("a")), encode(chunk("b")), encode(b"[DONE]"), encode(chunk("c"))], None),
        (ChatEvents, [encode(chunk("a", index=number % 2)) for number in range(5)], None),
        (ChatEvents, COUNTED, None),
        (ChatEvents, PADDED, None),  # strings beside it are looked at
        (OllamaEvents, [line(text, "2026-11-30T13:00:00.1Z") for text in "abc"], None),
        (ResponseEvents, [response("a", 9, "x")] * 3, None),  # its number may have to change
    ],
)  # fmt: skip
def test_an_event_that_came_alone_is_known_by_the_bytes_around_its_text(
    reader: Reader, chunks: list[bytes], says: str | None
) -> None:
    answers = stream(reader)
    for before in chunks[:-1]:
        answers.feed(before, end=False)
        for _ in answers.events():
            answers.take(None)
    part = answers.repeated(chunks[-1])
    assert (part and part.text) == says
    if part is not None:
        assert answers.take(None) == chunks[-1]
        assert answers.repeated(chunks[-1]) == part
        changed = answers.take(['"\n'])
        assert changed == chunks[-1].replace(f'"{says}"'.encode(), rb'"\"\n"')


def test_an_event_waits_for_those_before_it_that_nobody_took() -> None:
    answers = stream(ChatEvents)
    answers.feed(encode(chunk("a")), end=False)
    answers.take(None)
    answers.feed(encode(chunk("b")), end=False)
    assert answers.repeated(encode(chunk("c"))) is None


def test_streams_whose_events_differ_in_more_are_no_longer_asked_for_what_they_repeat() -> None:
    answers = stream(ChatEvents)
    for number in range(99):
        answers.feed(encode(chunk("a", around={"created": number})), end=False)
        answers.take(None)
    assert answers.repeated(encode(chunk("b", around={"created": 98}))) is None


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
