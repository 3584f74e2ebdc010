"""Nothing of an OpenAI body passes unseen: unknown shapes are text, escapes are read, what can't be read is named."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bartizan.policy.bundle import GuardModel, GuardPlan
from bartizan.policy.checks import OutputCheck, Pii, Probabilities
from sidecar.formats.base import Document, Format
from sidecar.formats.catalog import build_format
from sidecar.formats.documents import JsonDocument, TextAt
from sidecar.formats.streamed_json import StreamedJson

JSON = "application/json"


def openai() -> Format:
    model = GuardModel(name="m", protocol="openai")
    return build_format(GuardPlan(id="1.1", policy="a/b", revision=1, model=model, tenants=("t",)))


def request(body: Any) -> Document:
    return openai().decode_request("/v1/chat/completions", JSON, json.dumps(body).encode())


def answer(body: Any) -> Document:
    return openai().decode_answer("/v1/models", JSON, json.dumps(body).encode())


def part(content: Any) -> Any:
    return {"messages": [{"role": "user", "content": [content]}]}


def texts(document: Document) -> list[str]:
    return [part.text for part in document.texts()]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"object": "list", "data": [{"id": "a", "owned_by": "b"}]}, ["a", "b"]),
        ({"data": [{"index": 0, "embedding": [0.1, -2]}], "model": "m"}, ["m"]),
        ({"data": [{"embedding": ["sly"]}]}, ["sly"]),
        ({"data": [{"embedding": "not base64!"}]}, ["not base64!"]),
        ({"data": {"text": "t"}}, ["t"]),
        ({"output": [{"content": [{"text": "t"}]}]}, ["t"]),
        (
            {"choices": [{"message": {"content": "c"}, "note": "n"}], "id": "i", "warning": "w"},
            ["c", "note", "n", "warning", "w", "i"],
        ),
        (
            {"choices": [{"message": {"content": [{"type": "new", "body": {"x": "t"}}]}}]},
            ["body", "x", "t", "new"],
        ),
    ],
)
def test_every_string_of_an_unknown_answer_is_text(body: Any, expected: list[str]) -> None:
    assert texts(answer(body)) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"messages": [], "query": "q", "metadata": {"a": ["m"]}}, ["q", "a", "m"]),
        ({"model": "m", "user": "u", "stop": ["s"]}, ["u", "s", "m"]),
        ({"messages": [{"content": [{"type": "document", "body": "d"}]}]}, ["document", "body", "d"]),
        ({"messages": [{"type": "t", "id": "i", "tool_call_id": "c"}]}, ["t", "i", "c"]),
        ({"messages": [{"tool_calls": [{"id": "i", "type": "y", "x": "z"}]}]}, ["i", "y", "x", "z"]),
        ({"messages": [{"function_call": {"name": "n", "output": {"k": "o"}}}]}, ["n", "k", "o"]),
        ({"messages": [{"audio": "a"}]}, ["a"]),
        ({"messages": [{"audio": {"id": "a"}}]}, ["a"]),
        ({"messages": [{"content": [{"type": "image_url", "image_url": {}, "uuid": "u"}]}]}, ["uuid", "u"]),
        ({"tool_choice": {"type": "function", "function": {"name": "n"}}}, ["function", "n"]),
        ({"model": "not a name", "encoding_format": "nor this"}, ["not a name", "nor this"]),
        ({"tools": [{"k": {"v": 4111111111111111}}]}, ["k", "v", "4111111111111111"]),
        ({"documents": [{"k": 5e9, "n": 12}]}, ["k", "5000000000.0"]),
        ({"x": {"y": 4111111111111111}, "seed": 4111111111111111}, ["x", "y", "4111111111111111"]),
        (
            {"messages": [{"tool_calls": [{"function": {"arguments": {"k": [4111111111111111]}}}]}]},
            ["k", "4111111111111111"],
        ),
    ],
)
def test_every_string_of_an_unknown_request_field_is_text(body: Any, expected: list[str]) -> None:
    assert texts(request(body)) == expected


@pytest.mark.parametrize(
    ("document", "kinds"),
    [
        (answer({"data": [{"embedding": "AAAA"}]}), ("embedding",)),
        (request({"prompt": [1, 2]}), ("token_ids",)),
        (request({"prompt": [[1, 2]]}), ("token_ids",)),
        (request({"input": [[1], [2]]}), ("token_ids",)),
        (request({"prompt_embeds": "AAAA"}), ("prompt_embeds",)),
        (request(part({"type": "file", "file": {"file_data": "data:,AA"}})), ("file", "file_data")),
        (request(part({"type": "input_file", "file_data": "AA"})), ("input_file", "file_data")),
        (request(part({"type": "text", "text": "t", "file": {"file_data": "AA"}})), ("file_data",)),
        (request(part({"type": "file", "file": {"file_id": "i"}})), ("file",)),
        (request({"input": [{"content": [{"type": "input_file", "file_data": "AA"}]}]}), ("file_data",)),
        (request(part({"type": "input_audio", "input_audio": {}})), ("input_audio",)),
        (request(part({"video_url": {"url": "http://a/b"}})), ("video_url",)),
        (request(part({"type": "text", "text": "t", "audio_url": {"url": "http://a/b"}})), ("audio_url",)),
        (request({"query": {"content": [{"input_audio": {"data": "AA"}}]}}), ("input_audio",)),
        (request(part({"audio_embeds": "AAAA"})), ("prompt_embeds",)),
        (request({"tools": [{"parameters": {"properties": {"video_url": {}}}}]}), ()),
    ],
)
def test_what_cannot_be_read_is_named(document: Document, kinds: tuple[str, ...]) -> None:
    assert document.unscanned() == kinds


def test_documents_are_what_a_search_brought_and_definitions_are_the_applications() -> None:
    body = {"documents": [{"title": "t", "text": "d"}], "tools": [{"x": "y"}], "instructions": "i"}
    roles = {part.text: part.role for part in request(body).texts()}
    assert (roles["t"], roles["d"]) == ("tool", "tool")
    assert (roles["y"], roles["i"]) == ("definition", "definition")


SECRET: dict[str, Any] = {
    "token_ids": [101, 7],
    "prompt_token_ids": [5],
    "logprobs": {"content": [{"token": "a@b.de", "bytes": [97]}]},
    "prompt_logprobs": [{"1": {"decoded_token": "x"}}],
    "unknown": {"deep": [{"ids": [1, 2]}]},
}
CONCEALED: dict[str, Any] = {**dict.fromkeys(SECRET), "unknown": {"deep": [{"ids": None}]}}


def checked(mode: Literal["enforce", "shadow"], output: tuple[OutputCheck, ...] = (Pii(),)) -> Format:
    model = GuardModel(name="m", protocol="openai")
    return build_format(
        GuardPlan(id="1.1", policy="a/b", revision=1, model=model, tenants=("t",), output=output, mode=mode)
    )


def test_what_says_the_text_again_leaves_every_answer_whose_text_is_checked() -> None:
    body = {"choices": [{"message": {"content": "c", **SECRET}, **SECRET}], **SECRET}
    wanted = {"choices": [{"message": {"content": "c", **CONCEALED}, **CONCEALED}], **CONCEALED}
    document = checked("enforce").decode_answer("/x", JSON, json.dumps(body).encode())
    assert json.loads(document.encode()) == wanted
    assert document.unscanned() == ("whole_numbers",)
    assert texts(document)[0] == "c"
    assert "a@b.de" not in texts(document)
    fault = checked("enforce").decode_answer("/x", JSON, json.dumps({"error": "e", **SECRET}).encode(), 500)
    assert json.loads(fault.encode())["token_ids"] is None


def test_what_says_the_text_again_leaves_every_event_whose_text_is_checked() -> None:
    for delta in ({"content": "c"}, {}):
        body = {"choices": [{"index": 0, "delta": {**delta, **SECRET}, **SECRET}], **SECRET}
        wanted = {"choices": [{"index": 0, "delta": {**delta, **CONCEALED}, **CONCEALED}], **CONCEALED}
        stream = checked("enforce").answer_stream("/v1/chat/completions", "text/event-stream")
        assert stream is not None
        stream.feed(b"data: " + json.dumps(body).encode() + b"\n\n", end=True)
        assert json.loads(stream.take(None).removeprefix(b"data: ")) == wanted


@pytest.mark.parametrize(
    "form", [openai(), checked("shadow"), checked("enforce", (Probabilities(decimals=2),))]
)
def test_where_no_text_is_changed_what_says_it_again_passes_and_is_named(form: Format) -> None:
    body = json.dumps({"choices": [{"message": {"content": "c"}, "token_ids": [1]}]}).encode()
    document = form.decode_answer("/x", JSON, body)
    assert document.encode() is body
    assert document.unscanned() == ("token_ids",)
    stream = form.answer_stream("/v1/chat/completions", "text/event-stream")
    assert stream is not None
    event = b': note\nid: 7\ndata: {"choices":[{"index":0,"logprobs":{"x":[1]}}]}\n\n'
    stream.feed(event, end=True)
    assert stream.events()[0].unscanned == ("logprobs",)
    assert stream.take(None) == event


def test_numbers_that_are_no_tokens_stay() -> None:
    body = {"data": [{"embedding": [1, 2]}], "x": {"arguments": {"ids": [1, 2]}}, "created": 1700000000}
    encoded = json.dumps(body).encode()
    document = checked("enforce").decode_answer("/x", JSON, encoded)
    assert document.encode() is encoded
    assert texts(document) == ["x", "ids"]


@pytest.mark.parametrize(
    "member",
    [
        {"id": "see a@b.de"},
        {"usage": {"total_tokens": 1, "completion_tokens": "a@b.de"}},
        {"x": {"a@b.de": 1}},
    ],
)
def test_what_does_not_look_like_the_engines_own_is_text(member: Any) -> None:
    document = checked("enforce").decode_answer("/x", JSON, json.dumps({"choices": [], **member}).encode())
    assert any("a@b.de" in text for text in texts(document))
    stream = checked("enforce").answer_stream("/v1/chat/completions", "text/event-stream")
    assert stream is not None
    stream.feed(b"data: " + json.dumps({"choices": [], **member}).encode() + b"\n\n", end=True)
    assert any("a@b.de" in part.text for piece in stream.events() for part in piece.texts)
    assert b"a@b.de" not in stream.cut("d")


def test_a_known_field_is_neither_text_nor_unknown() -> None:
    usage = {"total_tokens": 7_000_000, "prompt_tokens_details": {"cached_tokens": 1}}
    body = {"choices": [{"index": 0, "delta": {"role": "assistant"}, **SECRET}], "usage": usage, "id": "i"}
    del body["choices"][0]["unknown"]  # type: ignore[index]
    stream = checked("enforce").answer_stream("/v1/chat/completions", "text/event-stream")
    assert stream is not None
    stream.feed(b"data: " + json.dumps(body).encode() + b"\n\n", end=True)
    assert stream.events()[0].unscanned == ()


def test_names_that_read_alike_are_made_free_without_recursion() -> None:
    at = [TextAt(("a", number), "t", name="same") for number in range(5000)]
    locations = [part.location for part in JsonDocument(b"", "", texts=at).texts()]
    assert len(set(locations)) == 5000
    assert max(map(len, locations)) < 12


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(value=JSON_VALUES, cuts=st.lists(st.integers(0, 200), max_size=6))
def test_unescaping_a_stream_never_changes_its_meaning(value: Any, cuts: list[int]) -> None:
    text = json.dumps(value)
    streamed = StreamedJson()
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    out = "".join(
        streamed.write(streamed.read(text[start:end]))
        for start, end in zip(places, [*places[1:], len(text)], strict=True)
    )
    assert json.loads(out) == value
