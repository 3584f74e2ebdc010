"""The streaming guarantee, as properties: whatever the split, what flows is the redaction of the whole text."""

from __future__ import annotations

import json
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bartizan.policy.checks import Canary, Pii, PiiType, Secrets
from sidecar.checks.base import CheckSet
from sidecar.checks.detectors import canary, pii, secrets
from sidecar.checks.stream import StreamInspector
from sidecar.formats.openai_stream import openai_stream
from sidecar.formats.sse import EventSplitter
from sidecar.model.decision import Cause
from sidecar.model.finding import Action
from tests.support.streams import PLANTED, TOKEN, checks, chunk, received, redaction, run, split

FIELDS = ("content", "reasoning_content", "refusal")
PROSE = st.text(
    st.one_of(
        st.sampled_from('abz AB Z09 .,-_@+%/()\n"\\\t:=é猫😀'),
        st.characters(codec="utf-8", exclude_categories=["Cs"]),
    ),
    max_size=40,
)
PLANTS = st.sampled_from(sorted(PLANTED.values()))
RUN_TOGETHER = st.builds(lambda planted, times: planted * times, PLANTS, st.integers(2, 4))
TEXTS = st.lists(st.one_of(PROSE, PLANTS, RUN_TOGETHER, st.just(" ")), max_size=7).map("".join)
SIZES = st.lists(st.integers(1, 90), max_size=200)


@settings(max_examples=150, deadline=None)
@given(
    texts=st.lists(TEXTS, min_size=1, max_size=3),
    cuts=st.lists(st.integers(0, 400)),
    sizes=SIZES,
    ascii_only=st.booleans(),
)
def test_what_flows_is_the_redaction_of_the_whole_text(
    texts: list[str], cuts: list[int], sizes: list[int], ascii_only: bool
) -> None:
    over = checks(types=get_args(PiiType))
    pieces = {FIELDS[n]: split(text, cuts) for n, text in enumerate(texts)}
    data = bytearray(chunk({"role": "assistant"}))
    for step in range(max(map(len, pieces.values()))):
        for field, parts in pieces.items():
            if step < len(parts):
                data += chunk({field: parts[step]}, ascii_only=ascii_only)
    data += chunk({}, finish="stop") + b": ping\n\ndata: [DONE]\n\n"
    out = b"".join(output.data for output in run(bytes(data), sizes, over))
    got = received(out)
    for field, text in zip(FIELDS, texts, strict=False):
        assert got.get(f"0.{field}", "") == redaction(text, over)
    assert out.endswith(b"data: [DONE]\n\n")


@settings(max_examples=150, deadline=None)
@given(
    before=PROSE,
    after=PROSE,
    planted=st.sampled_from(sorted(PLANTED)),
    cuts=st.lists(st.integers(0, 120)),
    sizes=SIZES,
)
def test_no_planted_secret_flows(
    before: str, after: str, planted: str, cuts: list[int], sizes: list[int]
) -> None:
    secret = PLANTED[planted]
    parts = split(f"{before} {secret} {after}", cuts)
    data = b"".join(chunk({"tool_calls": [{"index": 1, "function": {"arguments": part}}]}) for part in parts)
    over = checks(types=get_args(PiiType))
    out = b"".join(output.data for output in run(data + chunk({}, finish="tool_calls"), sizes, over))
    assert secret not in received(out).get("0.call1", "")
    assert secret not in out.decode()


@settings(max_examples=60, deadline=None)
@given(
    text=st.text(st.sampled_from("the quick brown fox jumps. \n"), max_size=200),
    cuts=st.lists(st.integers(0, 200)),
    sizes=SIZES,
)
def test_text_without_patterns_arrives_unchanged(text: str, cuts: list[int], sizes: list[int]) -> None:
    data = b"".join(chunk({"content": part}) for part in split(text, cuts)) + chunk({}, finish="stop")
    out = b"".join(output.data for output in run(data, sizes, checks()))
    assert received(out).get("0.content", "") == text


@settings(max_examples=60, deadline=None)
@given(text=TEXTS, cuts=st.lists(st.integers(0, 400)), sizes=SIZES)
def test_shadow_mode_changes_no_byte_and_finds_the_same(text: str, cuts: list[int], sizes: list[int]) -> None:
    over = checks()[:1]
    data = b"".join(chunk({"content": part}) for part in split(text, cuts)) + chunk({}, finish="stop")
    enforced, shadowed = run(data, sizes, over), run(data, sizes, over, shadow=True)
    assert b"".join(output.data for output in shadowed) == data
    kinds = [
        {finding.kind for output in outputs for finding in output.findings}
        for outputs in (enforced, shadowed)
    ]
    assert kinds[0] == kinds[1]


@settings(max_examples=60, deadline=None)
@given(
    before=st.text(st.sampled_from("abc d\n."), max_size=60), cuts=st.lists(st.integers(0, 120)), sizes=SIZES
)
def test_a_cut_lets_nothing_of_the_match_or_after_it_flow(
    before: str, cuts: list[int], sizes: list[int]
) -> None:
    over = [canary.build(Canary(tokens=(TOKEN,), action="cut"))]
    parts = split(f"{before}<{TOKEN}> and after", cuts)
    data = (
        b"".join(chunk({"content": part}) for part in parts) + chunk({}, finish="stop") + b"data: [DONE]\n\n"
    )
    outputs = run(data, sizes, over)
    out = b"".join(output.data for output in outputs)
    assert outputs[-1].cut
    assert outputs[-1].cause is Cause.ANSWER_CUT
    assert received(out).get("0.content", "") == f"{before}<"
    assert out.count(b"[DONE]") == 1
    last = json.loads(EventSplitter().feed(out, end=True)[-2].data or b"")
    assert last["choices"] == [{"index": 0, "delta": {}, "finish_reason": "content_filter"}]
    assert last["bartizan"] == {"decision": "d1"}


def test_innocent_text_flows_at_once() -> None:
    outputs = run(
        chunk({"content": "Hello there, "}) + chunk({"content": "friend. "}),
        [len(chunk({"content": "Hello there, "}))],
        checks(),
    )
    assert received(outputs[0].data)["0.content"] == "Hello there, "


def test_held_text_flows_before_the_event_that_ends_the_choice() -> None:
    data = chunk({"content": "write to jane@mail.exam"}) + chunk({}, finish="stop")
    events = EventSplitter().feed(run(data, [], checks())[0].data, end=True)
    bodies = [json.loads(event.data or b"") for event in events]
    assert [body["choices"][0]["finish_reason"] for body in bodies] == [None, None, "stop"]
    assert received(b"".join(event.raw for event in events))["0.content"] == "write to [EMAIL]"


def test_choices_are_separate_text_streams() -> None:
    data = (
        chunk({"content": "jane@mail."}, index=0)
        + chunk({"content": "bob@mail."}, index=1)
        + chunk({}, index=0, finish="stop")
        + chunk({"content": "example.org"}, index=1)
        + chunk({}, index=1, finish="stop")
    )
    got = received(run(data, [], checks())[0].data)
    assert got == {"0.content": "jane@mail.", "1.content": "[EMAIL]"}


def test_log_probabilities_go_where_text_is_changed_or_held() -> None:
    body = {
        "choices": [
            {
                "index": 0,
                "delta": {"content": "a@b.example "},
                "logprobs": {"content": [{"token": "a@b.example"}]},
            }
        ]
    }
    out = run(b"data: " + json.dumps(body).encode() + b"\n\n", [], checks())[0].data
    assert b"a@b.example" not in out
    assert json.loads(out[6:])["choices"][0]["logprobs"] is None


@pytest.mark.parametrize(
    "data",
    [
        b"data: {\n\n",
        b'data: {"choices": 1}\n\n',
        b"data: [1]\n\n",
        b"data: \xff\n\n",
        b'data: {"a":1,"a":2}\n\n',
    ],
)
def test_an_unreadable_event_ends_the_stream(data: bytes) -> None:
    output = run(data, [], checks())[0]
    assert (output.cut, output.cause) == (True, Cause.ANSWER_MALFORMED)
    assert output.data.endswith(b"data: [DONE]\n\n")


def test_untouched_events_keep_their_bytes() -> None:
    data = b':\r\n\r\nevent: message\r\ndata: {"choices": [ {"index":0,"delta":{"content":"a b. "}} ],\r\ndata:  "x": 1.50}\r\n\r\n'
    assert run(data, [], checks())[0].data == data


def test_flagging_checks_hold_back_nothing() -> None:
    data = chunk({"content": "jane@mail.exam"})
    output = run(data + b"x", [len(data)], [pii.build(Pii(action="flag"))])[0]
    assert output.data == data


def test_every_text_byte_is_counted_as_scanned() -> None:
    inspector = StreamInspector(openai_stream(legacy=False), CheckSet(texts=checks()), shadow=False)
    data = chunk({"content": "é jane@mail.example.com"}) + chunk({}, finish="stop")
    output = inspector.feed(data, end=True)
    assert inspector.scanned_bytes == inspector.total_bytes == 27  # the text, and "c1" and "m"
    assert output.findings[0].action is Action.REDACT


@pytest.mark.parametrize("size", [1, 3, 7, 200])
def test_a_match_whose_end_may_begin_another_is_held_whole(size: int) -> None:
    over = [canary.build(Canary(tokens=("xyzzy-inner-xyzzy",), action="redact"))]
    text = "say xyzzy-inner-xyzzy, xyzzy-inner-xyzzy-inner-xyzzy now"
    parts = [text[at : at + size] for at in range(0, len(text), size)]
    data = b"".join(chunk({"content": part}) for part in parts) + chunk({}, finish="stop")
    out = b"".join(output.data for output in run(data, [40] * 400, over))
    assert received(out)["0.content"] == redaction(text, over) == "say [REDACTED], [REDACTED]-inner-xyzzy now"


def test_a_private_key_is_held_from_its_first_line_to_its_last() -> None:
    over = [secrets.build(Secrets(action="redact"))]
    key = (
        "-----BEGIN PRIVATE"
        " KEY-----\n" + ("aB3dE5gH7jK9mN1p" * 4 + "\n") * 20 + "-----END PRIVATE" + " KEY-----"
    )
    text = f"Here it is: {key}\nand that was it."
    parts = [text[at : at + 5] for at in range(0, len(text), 5)]
    data = b"".join(chunk({"content": part}) for part in parts) + chunk({}, finish="stop")
    out = b"".join(output.data for output in run(data, [70] * 2000, over))
    assert received(out)["0.content"] == "Here it is: [SECRET]\nand that was it."


def test_a_stream_that_breaks_off_still_gives_its_held_text() -> None:
    outputs = run(chunk({"content": "write to jane"}), [], checks())
    assert received(outputs[0].data)["0.content"] == "write to jane"


def test_completions_streams_are_held_back_the_same() -> None:
    inspector = StreamInspector(openai_stream(legacy=True), CheckSet(texts=checks()), shadow=False)
    events = [
        {"choices": [{"index": 0, "text": text}]} for text in ("mail jane@", "mail.example", ".com now")
    ]
    out = b"".join(
        inspector.feed(b"data: " + json.dumps(event).encode() + b"\r\n\r\n", False).data for event in events
    )
    out += inspector.feed(b"data: [DONE]\r\n\r\n", True).data
    bodies = [
        json.loads(e.data) for e in EventSplitter().feed(out, end=True) if e.data and e.data != b"[DONE]"
    ]
    assert "".join(body["choices"][0]["text"] for body in bodies) == "mail [EMAIL] now"


def calls(arguments: str) -> bytes:
    call = {"index": 0, "function": {"arguments": arguments}}
    return chunk({"tool_calls": [call]}, ascii_only=True)


@pytest.mark.parametrize("cut", range(1, 30))
def test_escapes_do_not_hide_a_text_in_streamed_arguments(cut: int) -> None:
    text = r'{"to": "\u006aane\u0040mail.example.com", "t": "\"\n\\u0041\ud83d\ude00"}'
    over = [pii.build(Pii(types=("email",)))]
    inspector = StreamInspector(openai_stream(legacy=False), CheckSet(texts=over), shadow=False)
    out = inspector.feed(calls(text[:cut]) + calls(text[cut:]), end=True).data
    said = ""
    for event in out.decode().split("\n\n"):
        if event.startswith("data: {"):
            for choice in json.loads(event[6:])["choices"]:
                for call in choice["delta"].get("tool_calls", ()):
                    said += call["function"]["arguments"]
    assert json.loads(said) == {"to": "[EMAIL]", "t": '"\n\\u0041😀'}


def test_strings_of_unknown_fields_of_a_stream_are_looked_at_and_named() -> None:
    over = [canary.build(Canary(tokens=(TOKEN,), action="redact"))]
    inspector = StreamInspector(openai_stream(legacy=False), CheckSet(texts=over), shadow=False)
    event = {
        "choices": [{"index": 0, "delta": {"thought": f"it is {TOKEN}"}, "extra": [TOKEN]}],
        "note": {"x": TOKEN},
        "error": {"message": "m", "detail": TOKEN},
    }
    out = inspector.feed(b"data: " + json.dumps(event).encode() + b"\n\n", end=True).data
    assert TOKEN.encode() not in out
    assert out.count(b"[REDACTED]") == 4
    assert list(inspector.unscanned) == ["unknown_field"]
