"""Pieces of an answer that are read and written without protobuf are what protobuf makes of them, to the byte."""

from __future__ import annotations

from google.protobuf.message import DecodeError
from hypothesis import example, given
from hypothesis import strategies as st

from protos.gen.envoy.service.ext_proc.v3.external_processor_pb2 import (
    HttpBody,
    HttpHeaders,
    HttpTrailers,
    ProcessingRequest,
)
from sidecar.model.events import AnswerData
from sidecar.wire.ext_proc_body import LONGEST, PieceReader, piece_message
from sidecar.wire.translate import read_event, reply_message

sizes = st.one_of(
    st.integers(0, LONGEST + 300),
    st.sampled_from(range(110, 140)),
    st.sampled_from(range(LONGEST - 5, LONGEST + 5)),
)
data = st.one_of(
    st.binary(max_size=40), sizes.map(bytes), sizes.map(lambda size: b"*\x03\n\x01x" * (size // 5))
)
pieces = st.builds(HttpBody, body=data, end_of_stream=st.booleans(), grpc_message_compressed=st.booleans())


def _with(message: ProcessingRequest, said: dict[str, str]) -> ProcessingRequest:
    for name, value in said.items():
        message.metadata_context.filter_metadata["a"].update({name: value})
    return message


metadata = st.dictionaries(st.text(max_size=3), st.text(max_size=140), max_size=3)
requests = st.one_of(
    st.builds(lambda piece, said: _with(ProcessingRequest(response_body=piece), said), pieces, metadata),
    st.builds(lambda piece: ProcessingRequest(request_body=piece), pieces),
    st.builds(
        lambda piece: ProcessingRequest(
            response_body=piece, response_trailers=HttpTrailers(), observability_mode=True
        ),
        pieces,
    ),
    st.just(ProcessingRequest(response_headers=HttpHeaders())),
)


@given(st.lists(requests, min_size=1, max_size=6))
def test_a_piece_is_read_as_protobuf_reads_it(messages: list[ProcessingRequest]) -> None:
    reader = PieceReader()
    for message in messages:
        sent = message.SerializeToString()
        assert reader.read(sent) in (None, read_event(message))
        reader.learn(message, sent)


@given(st.lists(requests, max_size=2), requests, st.data())
def test_what_protobuf_would_not_read_as_one_piece_is_left_to_it(
    before: list[ProcessingRequest], message: ProcessingRequest, drawn: st.DataObject
) -> None:
    reader = PieceReader()
    for each in before:
        reader.learn(each, each.SerializeToString())
    sent = bytearray(message.SerializeToString())
    for _ in range(drawn.draw(st.integers(0, 3))):
        if sent:
            sent[drawn.draw(st.integers(0, min(len(sent), 12) - 1))] = drawn.draw(st.integers(0, 255))
    sent += drawn.draw(st.one_of(st.just(b""), requests.map(lambda one: one.SerializeToString())))
    read = reader.read(bytes(sent))
    if read is None:
        return
    try:
        assert read == read_event(ProcessingRequest.FromString(bytes(sent)))
    except (
        DecodeError
    ):  # inside of the metadata, which is not read again: what is before it is a whole message
        assert read == read_event(ProcessingRequest.FromString(bytes(sent[: len(sent) - reader.behind])))


@given(st.text(min_size=1, max_size=200), st.permutations(["a", "b", "c"]))
def test_metadata_of_one_size_in_any_order_is_passed_over(text: str, names: list[str]) -> None:
    reader = PieceReader()
    first = _with(ProcessingRequest(response_body=HttpBody(body=b"x")), dict.fromkeys("abc", text))
    reader.learn(first, first.SerializeToString())
    other = _with(ProcessingRequest(response_body=HttpBody(body=b"more")), dict.fromkeys(names, text))
    read = reader.read(other.SerializeToString())
    assert read is not None
    assert read.data == b"more"


@given(data, st.booleans())
@example(b"", False)
@example(b"", True)
def test_a_piece_is_written_as_protobuf_writes_it(written: bytes, end: bool) -> None:
    piece = AnswerData(data=written, end=end)
    assert piece_message(piece) == reply_message(piece)
