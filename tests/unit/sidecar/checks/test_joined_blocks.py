"""Blocks that clients show as one text are judged as one: what stands across them ends a stream as it denies an answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bartizan.policy.checks import Canary, Exfiltration, Markup, Pii, Secrets
from sidecar.checks.base import CheckSet
from sidecar.checks.catalog import build_checks
from sidecar.checks.content import inspect_document
from sidecar.checks.stream import StreamInspector
from sidecar.formats.anthropic import AnthropicFormat
from sidecar.formats.base import Format
from sidecar.formats.mcp import McpFormat
from sidecar.formats.openai import OpenAIFormat
from sidecar.formats.responses_stream import responses_stream
from sidecar.formats.sse import EventSplitter
from sidecar.model.finding import Action

TOKEN = "ZEBRA-phoenix-7731"
KEY = "AKIA" + "Q3EGRIJ7SNNH2LKP"
FORMATS: dict[str, Format] = {"anthropic": AnthropicFormat(), "openai": OpenAIFormat(), "mcp": McpFormat()}
PATHS = {"anthropic": "/v1/messages", "openai": "/v1/responses", "mcp": "/mcp"}
Texts = Sequence[str]


def checks(action: Any = "redact") -> CheckSet:
    return build_checks(
        (
            Pii(action="flag" if action == "flag" else "redact"),
            Secrets(action=action),
            Markup(),
            Exfiltration(links=("docs.example",)),
            Canary(tokens=(TOKEN,), action=action),
        )
    )


def event(kind: str, **members: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **members})}\n\n".encode()


def deltas(text: str, step: int) -> list[str]:
    return [text[at : at + step] for at in range(0, len(text), step)]


def anthropic(texts: Texts, step: int) -> Iterator[bytes]:
    usage = {"output_tokens": 1}
    yield event("message_start", message={"id": "m", "role": "assistant", "content": [], "usage": usage})
    for index, text in enumerate(texts):
        yield event("content_block_start", index=index, content_block={"type": "text", "text": ""})
        for piece in deltas(text, step):
            yield event("content_block_delta", index=index, delta={"type": "text_delta", "text": piece})
        yield event("content_block_stop", index=index)
    yield event("message_delta", delta={"stop_reason": "end_turn"}, usage=usage)
    yield event("message_stop")


def items(texts: Texts) -> list[Any]:
    return [{"type": "message", "content": [{"type": "output_text", "text": text}]} for text in texts]


def openai(texts: Texts, step: int) -> Iterator[bytes]:
    for index, text in enumerate(texts):
        place = {"output_index": index, "content_index": 0}
        for piece in deltas(text, step):
            yield event("response.output_text.delta", delta=piece, **place)
        yield event("response.output_text.done", text=text, **place)
    yield event("response.completed", response={"id": "r", "output": items(texts)})


def whole(protocol: str, texts: Texts) -> dict[str, Any]:
    blocks = [{"type": "text", "text": text} for text in texts]
    match protocol:
        case "anthropic":
            return {"id": "m", "role": "assistant", "content": blocks}
        case "openai":
            return {"id": "r", "object": "response", "output": items(texts)}
        case _:
            return {"jsonrpc": "2.0", "id": 1, "result": {"content": blocks}}


def streamed(
    protocol: str, texts: Texts, over: CheckSet, *, step: int = 3, shadow: bool = False
) -> tuple[dict[int, str], bool, StreamInspector]:
    """What a client reads of each block, whether it was cut, and who says so."""
    stream = FORMATS[protocol].answer_stream(PATHS[protocol], "text/event-stream")
    assert stream is not None
    on = StreamInspector(stream, over, shadow=shadow)
    events = anthropic(texts, step) if protocol == "anthropic" else openai(texts, step)
    outputs = [on.feed(data, end=False) for data in events]
    said: dict[int, str] = {}
    for got in EventSplitter().feed(b"".join(output.data for output in outputs), end=True):
        value = json.loads(got.data or b"{}")
        delta = value.get("delta")
        text = delta.get("text") if isinstance(delta, dict) else delta
        if text:
            index = value.get("index", value.get("output_index"))
            said[index] = said.get(index, "") + text
    return said, any(output.cut for output in outputs), on


def denied(protocol: str, texts: Texts, over: CheckSet) -> bool:
    body = json.dumps(whole(protocol, texts)).encode()
    document = FORMATS[protocol].decode_answer(PATHS[protocol], "application/json", body)
    return inspect_document(document, over, shadow=False).action is Action.DENY


@pytest.mark.parametrize("protocol", ["anthropic", "openai"])
@pytest.mark.parametrize("step", [1, 3, 100])
@pytest.mark.parametrize(
    "texts",
    [
        ("my card 4111 1111", " 1111 1111 ok"),
        ("mail jane@exa", "mple.org now"),
        (f"key {KEY[:9]}", f"{KEY[9:]} ok"),
        (f"a {TOKEN[:9]}", f"{TOKEN[9:]} b"),
        (TOKEN[:6], TOKEN[6:12], TOKEN[12:]),
        ("x <scr", "ipt>steal()</script>"),
        ("see ![i](//docs.example", ".evil.test/i.png) there"),
    ],
)
def test_the_second_part_of_what_stands_across_blocks_does_not_flow(
    protocol: str, step: int, texts: Texts
) -> None:
    said, cut, on = streamed(protocol, texts, checks(), step=step)
    assert cut
    assert said == dict(enumerate(texts[:-1]))
    assert Action.CUT in {found.action for found in on.findings}
    assert denied(protocol, texts, checks())


@pytest.mark.parametrize("action", ["flag", "redact", "cut"])
@pytest.mark.parametrize("shadow", [False, True])
def test_a_check_that_flags_and_shadow_mode_let_blocks_flow_and_say_so(action: Any, shadow: bool) -> None:
    texts = (f"a {TOKEN[:9]}", f"{TOKEN[9:]} b")
    said, cut, on = streamed(
        "anthropic", texts, build_checks((Canary(tokens=(TOKEN,), action=action),)), shadow=shadow
    )
    assert cut is (action != "flag" and not shadow)
    assert said.get(1, "") == ("" if cut else texts[1])
    assert [found.check for found in on.findings] == ["canary"]


PIECES = st.sampled_from(
    (
        TOKEN,
        KEY,
        "4111 1111 1111 1111",
        "jane@example.org",
        "see https://evil.example/a",
        " ",
        "\n",
        ".",
        "born",
    )
)
SAID = st.lists(st.one_of(PIECES, st.text(alphabet="ab9 -@./<", max_size=8)), max_size=4).map("".join)


@settings(max_examples=150, deadline=None)
@given(
    protocol=st.sampled_from(("anthropic", "openai")),
    text=SAID,
    places=st.lists(st.integers(0, 80), min_size=1, max_size=2),
    step=st.integers(1, 40),
)
@example(protocol="anthropic", text="card 4111 1111 1111 1111 9", places=[16, 24], step=2)
def test_a_stream_of_blocks_is_cut_where_the_whole_answer_is_denied(
    protocol: str, text: str, places: list[int], step: int
) -> None:
    blocks_alike(protocol, text, places, step)


def blocks_alike(protocol: str, text: str, places: Sequence[int], step: int) -> None:
    """A text in blocks that end at these places, in deltas of so many characters."""
    ends = sorted({place % (len(text) + 1) for place in places})
    texts = [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]
    over = checks()
    said, cut, _ = streamed(protocol, texts, over, step=step)
    refused = denied(protocol, texts, over)
    # a block between two others ends before the last is there, and is judged as if nothing followed
    assert (cut or not refused) if len(texts) > 2 else cut is refused
    alone = [streamed(protocol, [one], over, step=step)[0].get(0, "") for one in texts]
    for index, one in enumerate(alone):
        assert one.startswith(said.get(index, ""))
        assert cut or said.get(index, "") == one


@pytest.mark.parametrize("stream", ["response.reasoning_summary_text", "response.reasoning_text"])
def test_parts_of_one_items_reasoning_are_joined_and_those_of_two_items_are_not(stream: str) -> None:
    for owners, cut in (((0, 0), True), ((0, 1), False)):
        on = StreamInspector(responses_stream(), checks(), shadow=False)
        outputs = []
        for number, (item, text) in enumerate(zip(owners, (f"key {KEY[:9]}", f"{KEY[9:]} ok"), strict=True)):
            place = {"output_index": item, "summary_index": number}
            outputs.append(on.feed(event(f"{stream}.delta", delta=text, **place), end=False))
            outputs.append(on.feed(event(f"{stream}.done", text=text, **place), end=False))
        assert any(output.cut for output in outputs) is cut


@pytest.mark.parametrize("action", ["flag", "redact"])
def test_parts_that_are_whole_in_one_event_are_judged_joined(action: Any) -> None:
    texts = (f"key {KEY[:9]}", f"{KEY[9:]} ok")
    over = build_checks((Secrets(action=action),))
    on = StreamInspector(McpFormat().answer_stream("/mcp", "text/event-stream"), over, shadow=False)  # type: ignore[arg-type]
    output = on.feed(b"data: " + json.dumps(whole("mcp", texts)).encode() + b"\n\n", end=True)
    assert output.cut is (action == "redact")
    assert [(found.check, found.action) for found in on.findings] == [
        ("secrets", Action.CUT if action == "redact" else Action.FLAG)
    ]
    assert (KEY[9:] in output.data.decode()) is (action == "flag")
    assert denied("mcp", texts, over) is (action == "redact")


@pytest.mark.parametrize("action", ["flag", "cut"])
def test_a_check_that_only_flags_holds_nothing_where_blocks_meet(action: Any) -> None:
    made = build_checks((Canary(tokens=(TOKEN,), action=action),))
    stream = AnthropicFormat().answer_stream("/v1/messages", "text/event-stream")
    assert stream is not None
    inspector = StreamInspector(stream, made, shadow=False)
    *begun, rest, _stop, _delta, _end = anthropic(["see ZEBRA-pho", "enix"], 99)
    for each in begun:
        inspector.feed(each, end=False)
    assert (b"enix" in inspector.feed(rest, end=False).data) == (action == "flag")
