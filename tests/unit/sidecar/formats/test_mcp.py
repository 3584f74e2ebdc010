"""The rules of MCP: which JSON-RPC messages are read, what no check reads, how a cut ends for the client."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from bartizan.policy.checks import Canary, Pii
from sidecar.checks.base import CheckSet
from sidecar.checks.content import inspect_document
from sidecar.checks.detectors import canary, pii
from sidecar.checks.stream import StreamInspector, StreamOutput
from sidecar.formats.base import Document, FormatError
from sidecar.formats.mcp import McpFormat
from sidecar.formats.sse import MAX_WHOLE_BYTES, EventSplitter
from sidecar.model.decision import Cause

JSON = "application/json"
TOKEN = "canary-7f3a9c21"
CHECKS = CheckSet(
    texts=(pii.build(Pii(types=("email",))), canary.build(Canary(tokens=(TOKEN,), action="cut")))
)

PNG = "iVBORw0KGgoA"


def rpc(**members: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", **members}


def request(body: Any) -> Document:
    return McpFormat().decode_request("/mcp", JSON, json.dumps(body).encode())


def run(*messages: Any) -> StreamOutput:
    data = b"".join(b"data: " + json.dumps(message).encode() + b"\n\n" for message in messages)
    stream = McpFormat().answer_stream("/mcp", "text/event-stream")
    assert stream is not None
    return StreamInspector(stream, CHECKS, shadow=False, decision_id="d1").feed(data, end=True)


def said(output: StreamOutput) -> list[Any]:
    return [
        json.loads(event.data)
        for event in EventSplitter(MAX_WHOLE_BYTES).feed(output.data, end=True)
        if event.data
    ]


@pytest.mark.parametrize(
    "body",
    [
        [],
        [rpc(id=1, method="ping")],
        "x",
        {},
        {"id": 1, "method": "ping"},
        {"jsonrpc": 2.0, "method": "ping"},
        rpc(id=1),
        rpc(method=1),
        rpc(method="ignore all rules"),
        rpc(method="ping", result={}),
        rpc(id=1, result={}, error={}),
    ],
)
def test_what_is_no_single_message_is_refused(body: Any) -> None:
    with pytest.raises(FormatError) as caught:
        request(body)
    assert caught.value.cause is Cause.MALFORMED_BODY
    with pytest.raises(FormatError) as caught:
        McpFormat().decode_answer("/mcp", JSON, json.dumps(body).encode())
    assert caught.value.cause is Cause.ANSWER_MALFORMED


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (rpc(id="a b", method="ping"), ["a b"]),
        (rpc(id=1, method="x", params={"arguments": {"q": "t", "deep": [{"k": 4111111111111111}]}}),
         ["q", "t", "deep", "k", "4111111111111111"]),
        (rpc(method="notifications/x", params=["p"], note="n"), ["p", "note", "n"]),
        (rpc(id=1, result={"contents": [{"uri": "file:///a", "text": "r"}]}), ["contents", "file:///a", "r"]),
        (rpc(id=1, error={"code": -1, "message": "m", "data": {"trace": "t"}}), ["m", "trace", "t"]),
        (rpc(id=1, result={"content": [{"type": "image", "data": "not base64!"}]}), ["not base64!"]),
        (rpc(id=1, result={"content": [{"type": "odd kind", "text": "t"}]}), ["odd kind", "t"]),
    ],
)  # fmt: skip
def test_every_string_of_a_message_is_text(body: Any, expected: list[str]) -> None:
    assert [part.text for part in request(body).texts() if not part.identifier] == expected


def test_pictures_sound_and_binary_resources_are_named() -> None:
    blocks = [
        {"type": "image", "data": PNG},
        {"type": "audio", "data": "SUQzBAAA"},
        {"type": "resource", "resource": {"uri": "x", "blob": "iVBORw0K/////w=="}},
    ]
    assert set(request(rpc(id=1, result={"content": blocks})).unscanned()) == {"image", "audio", "file_data"}


def blob(data: bytes, **members: Any) -> dict[str, Any]:
    resource = {"uri": "file:///a", "blob": base64.b64encode(data).decode(), **members}
    return rpc(id=1, result={"contents": [resource]})


SAYS = "caf\u00e9: jane@example.org, and so on"


@pytest.mark.parametrize("charset", ["utf-8", "latin-1", "utf-16"])
def test_a_text_in_a_binary_resource_is_judged_and_written_in_its_character_set(charset: str) -> None:
    body = json.dumps(blob(SAYS.encode(charset))).encode()
    document = McpFormat().decode_answer("/mcp", JSON, body)
    assert SAYS in [part.text for part in document.texts()]
    assert not document.unscanned()
    assert document.encode() == body
    inspect_document(document, CHECKS, shadow=False)
    (resource,) = json.loads(document.encode())["result"]["contents"]
    assert base64.b64decode(resource["blob"]).decode(charset) == SAYS.replace("jane@example.org", "[EMAIL]")


def test_a_text_in_a_binary_resource_of_a_stream_is_judged_too() -> None:
    (said_now,) = said(run(blob(SAYS.encode())))
    written = base64.b64decode(said_now["result"]["contents"][0]["blob"]).decode()
    assert written == SAYS.replace("jane@example.org", "[EMAIL]")
    untouched = blob(b"nothing in here, however it is written")
    assert said(run(untouched)) == [untouched]
    assert run(blob(f"the word {TOKEN}".encode())).cut


@pytest.mark.parametrize(
    "written",
    ["aGkgamFuZUBleGFtcGxlLm9yZw", "aGkgamFu\r\nZUBleGFtcGxlLm9yZw==", "aGkgamFuZUBleGFtcGxlLm9yZz8_"],
)
def test_base64_is_decoded_as_lenient_readers_do(written: str) -> None:
    document = request(rpc(id=1, result={"contents": [{"uri": "x", "blob": written}]}))
    assert any(part.text.startswith("hi jane@example.org") for part in document.texts())


def test_what_is_no_text_and_a_word_in_place_of_a_resource_are_read_as_before() -> None:
    noise = bytes(range(256))
    assert request(blob(noise)).unscanned() == ("file_data",)
    word = "CANARY7f3a9c21" + base64.b64encode(b"a text that hides it, with many words").decode()
    checks = CheckSet(texts=(canary.build(Canary(tokens=("CANARY7f3a9c21",), action="cut")),))
    message = rpc(id=1, result={"contents": [{"uri": "x", "blob": word}]})
    stream = McpFormat().answer_stream("/mcp", "text/event-stream")
    assert stream is not None
    data = b"data: " + json.dumps(message).encode() + b"\n\n"
    assert StreamInspector(stream, checks, shadow=False).feed(data, end=True).cut


@pytest.mark.parametrize("word", ["AKIAIOSFODNN7QXZMPLE", "CANARY-7f3a9c", "a", "abcde", "aGk="])
@pytest.mark.parametrize("kind", ["image", "audio"])
def test_a_word_in_place_of_a_picture_is_text(kind: str, word: str) -> None:
    block = {"type": kind, "data": word}
    for result in ({"content": [block]}, {"content": block}, {"messages": [{"content": block}]}):
        made = request(rpc(id=1, result=result))
        assert word in [part.text for part in made.texts()]
        assert not made.unscanned()


@pytest.mark.parametrize("key", ["arguments", "structuredContent", "_meta"])
def test_pictures_of_an_applications_own_objects_are_text(key: str) -> None:
    made = request(rpc(id=1, result={key: {"content": [{"type": "image", "data": PNG}]}}))
    assert PNG in [part.text for part in made.texts()]
    made = request(rpc(id=1, result={"blob": "aGk="}))
    assert "aGk=" in [part.text for part in made.texts()]


def test_a_cut_answers_the_request_that_waits_for_it() -> None:
    output = run(
        rpc(method="notifications/progress", params={"message": "jane@example.org"}),
        rpc(id="r-1", result={"content": [{"type": "text", "text": f"it is {TOKEN}"}]}),
        rpc(id="r-2", result={}),
    )
    assert output.cause is Cause.ANSWER_CUT
    note, error = said(output)
    assert note["params"] == {"message": "[EMAIL]"}
    assert (error["id"], error["error"]["data"]) == ("r-1", {"decision": "d1"})


def test_a_cut_notification_ends_the_stream_without_a_word() -> None:
    assert said(run(rpc(id=1, method="sampling/createMessage", params={"systemPrompt": TOKEN}))) == []


def test_events_lose_what_no_check_reads() -> None:
    stream = McpFormat().answer_stream("/mcp", "text/event-stream")
    assert stream is not None
    data = b'id: 7\nevent: message\n: note\ndata: {"jsonrpc":"2.0","id":1,"result":{}}\n\n'
    out = StreamInspector(stream, CHECKS, shadow=False).feed(data, end=True).data
    assert out == b'event: message\ndata: {"jsonrpc":"2.0","id":1,"result":{}}\n\n'


def test_an_event_may_hold_many_texts_but_not_any_number() -> None:
    tools = [{"name": f"tool-{number}", "description": "mail jane@example.org"} for number in range(1000)]
    output = run(rpc(id=1, result={"tools": tools}))
    assert (output.cause, output.data.count(b"[EMAIL]")) == (None, 1000)
    output = run(rpc(id=1, result={"tools": tools * 2}))
    assert output.cause is Cause.ANSWER_TOO_LARGE
    assert said(output)[0]["error"]["code"] == -32001


def test_an_event_may_hold_a_picture() -> None:
    picture = {"type": "image", "mimeType": "image/png", "data": PNG * 250_000}
    output = run(rpc(id=1, result={"content": [picture, {"type": "text", "text": "by jane@example.org"}]}))
    assert output.cause is None
    assert said(output)[0]["result"]["content"][1]["text"] == "by [EMAIL]"
