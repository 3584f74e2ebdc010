"""A question in two parts says what the whole says, also when it is cut, doubled, merged or broken."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from bartizan.policy import names
from protos.gen.envoy.service.auth.v3.attribute_context_pb2 import AttributeContext
from protos.gen.envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from sidecar.wire.question import _surroundings, read_question
from sidecar.wire.trace import drawn_below
from tests.support.guard import KEY, check_request

KNOWN = (names.REVISION, names.CONTENT, names.BODY, names.TRACE)
words = st.text(max_size=12)


def whole(message: bytes) -> tuple[object, ...]:
    """The same without any parting."""
    attributes = CheckRequest.FromString(message).attributes
    said = attributes.context_extensions
    return (
        attributes.request.http.SerializeToString(deterministic=True),
        attributes.source.address.socket_address.address,
        said.get(names.REVISION, ""),
        said.get(names.CONTENT) == "1",
        said.get(names.BODY) == "1",
        drawn_below(int(said.get(names.TRACE, "0"))),
    )


def parted(message: bytes) -> tuple[object, ...]:
    http, around = read_question(message)
    return (
        http.SerializeToString(deterministic=True),
        around.source_address,
        around.revision,
        around.content,
        around.body,
        around.traced_below,
    )


def outcome(read: Callable[[bytes], tuple[object, ...]], message: bytes) -> object:
    try:
        return read(message)
    except (DecodeError, ValueError):  # where several things are wrong, either may be found first
        return "refused"


@st.composite
def attributes(draw: st.DrawFn) -> AttributeContext:
    """Attributes with some of what Envoy sends, and some of what it does not."""
    made = AttributeContext()
    for peer in (made.source, made.destination):
        if draw(st.booleans()):
            peer.address.socket_address.address = draw(words)
            peer.address.socket_address.port_value = draw(st.integers(0, 65_535))
            peer.principal = draw(st.sampled_from(["", "p" * 200]))
    http = made.request.http
    http.id, http.method, http.path = draw(words), draw(words), draw(words)
    http.raw_body = draw(st.sampled_from([b"", b"b" * 300, b"b" * 20_000]))
    for name, value in draw(st.dictionaries(words, words, max_size=4)).items():
        http.headers[name] = value
    if draw(st.booleans()):
        made.request.time.seconds = 1_796_093_084
    for name in draw(st.lists(st.sampled_from(KNOWN), unique=True)):
        made.context_extensions[name] = draw(st.sampled_from(["", "0", "1", "100", "x"]))
    if draw(st.booleans()):
        made.metadata_context.filter_metadata["m"].update({"a": draw(words)})
    return made


def question(*parts: AttributeContext) -> bytes:
    """Of several attributes one after the other, which protobuf merges."""
    told = b"".join(part.SerializeToString(deterministic=True) for part in parts)
    size, length = len(told), bytearray()
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    return b"\n" + bytes([*length, size]) + told


@given(st.lists(attributes(), min_size=1, max_size=2))
def test_a_question_says_what_the_whole_says(parts: list[AttributeContext]) -> None:
    message = question(*parts)
    for _ in range(2):  # the second time from memory
        assert outcome(parted, message) == outcome(whole, message)


@given(attributes(), st.data())
def test_a_question_with_any_bytes_changed_is_read_or_refused_as_the_whole(
    made: AttributeContext, data: st.DataObject
) -> None:
    message = bytearray(question(made))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(message)))
        message[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    assert outcome(parted, bytes(message)) == outcome(whole, bytes(message))


@given(attributes(), attributes(), st.data())
def test_a_question_of_two_pieces_is_read_or_refused_as_the_whole(
    one: AttributeContext, other: AttributeContext, data: st.DataObject
) -> None:
    first, second = question(one), question(other)
    cut = data.draw(st.integers(0, len(first)))
    message = first[:cut] + second[data.draw(st.integers(0, len(second))) :]
    assert outcome(parted, message) == outcome(whole, message)


@pytest.mark.parametrize(
    "message", [b"", b"\n", b"\n\x00", b"\n\x80", b"\n\x02\x22", b"\n\x02\x22\x00", b"\n\x02\x22\x7f"]
)
def test_the_shortest_questions_are_read_or_refused_as_the_whole(message: bytes) -> None:
    assert outcome(parted, message) == outcome(whole, message)


def test_what_is_remembered_holds_nothing_of_the_request() -> None:
    _surroundings.cache_clear()
    for number in range(50):
        headers = {"x-api-key": KEY, "x-request-id": str(number), "cookie": f"c={number:0200}"}
        read_question(check_request(headers, path=f"/predict?q={number}", stream_id=str(number)))
    assert _surroundings.cache_info().currsize == 1


def test_a_long_rest_is_read_and_not_remembered() -> None:
    _surroundings.cache_clear()
    made = AttributeContext()
    made.request.http.id = "1"
    made.source.principal = "p" * 100
    for number in range(10):
        made.context_extensions[f"{number}"] = "v" * 100
    assert parted(question(made)) == whole(question(made))
    assert _surroundings.cache_info().currsize == 0
