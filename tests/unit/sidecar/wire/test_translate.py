"""Envoy's messages <-> our types: what ext_authz hands on comes back whole, and nothing else is taken for it."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from bartizan.policy import names
from protos.gen.envoy.config.core.v3.base_pb2 import HeaderValue
from protos.gen.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from protos.gen.envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest, ProcessingResponse
from sidecar.model.decision import Cause, deny
from sidecar.model.events import AnswerData, PassRequestBody, Refuse, RequestHeaders
from sidecar.model.request import Identity
from sidecar.plan.probe import Probe
from sidecar.wire.translate import joined_headers, read_event, reply_message
from sidecar.wire.translate_check import Handed, allow_reply, read_check, read_handed
from tests.support.guard import check_request

text = st.text(st.characters(codec="utf-8"), max_size=20)
identities = st.builds(
    Identity,
    subject=text,
    tenant=text,
    method=st.sampled_from(["api_key", "jwt"]),
    key_id=text,
    plan=text,
    region=text,
    models=st.lists(text, max_size=3).map(tuple),
)
probes = st.builds(Probe, nonce=text, phase=st.sampled_from(["authz", "content"]))


@given(
    st.builds(
        Handed,
        decision_id=text,
        revision=text,
        source_address=text,
        identity=st.none() | identities,
        probe=st.none() | probes,
    )
)
def test_what_is_handed_on_comes_back(handed: Handed) -> None:
    reply = CheckResponse.FromString(allow_reply(handed))
    assert read_handed(reply.dynamic_metadata) == handed


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"decision_id": "a", "revision": "1.1"},
        {"handed": 1},
        {"handed": ""},
        {"handed": '{"decision_id": "a"}'},
        {"handed": '{"decision_id": 1, "revision": "1.1"}'},
        {"handed": '{"decision_id": "a", "revision": "1.1", "identity": "root"}'},
        {
            "handed": '{"decision_id": "a", "revision": "1.1",'
            ' "identity": {"subject": "s", "tenant": "t", "method": "magic"}}'
        },
        {"handed": {"decision_id": "a", "revision": "1.1"}},
    ],
)
def test_anything_else_in_the_metadata_is_nothing(found: dict[str, Any]) -> None:
    struct = Struct()
    struct.update(found)
    assert read_handed(struct) is None


def test_a_check_is_read_without_its_query() -> None:
    check = read_check(check_request({"x-a": "b"}, path="/predict?secret=1", content=True)).within("t")
    assert (check.head.path, check.head.method, check.content, check.revision) == (
        "/predict",
        "POST",
        True,
        "1.1",
    )
    assert (check.head.source_address, check.head.trace_id) == ("203.0.113.77", "t")
    assert "x-a" not in repr(check)


def test_repeated_headers_are_joined_and_bytes_never_fail() -> None:
    values = [
        HeaderValue(key="a", raw_value=b"1"),
        HeaderValue(key="a", value="2"),
        HeaderValue(key="b", raw_value=b"\xff"),
    ]
    assert joined_headers(values) == {"a": "1,2", "b": "\ufffd"}


@pytest.mark.parametrize(("path", "query"), [("/p", ""), ("/p?", ""), ("/p?a", "a"), ("/p??", "?")])
def test_a_query_is_told_and_never_shown(path: str, query: str) -> None:
    message = ProcessingRequest()
    message.request_headers.headers.headers.append(HeaderValue(key=":path", raw_value=path.encode()))
    event = read_event(message)
    assert isinstance(event, RequestHeaders)
    assert (event.path, event.query) == ("/p", query)
    assert "query" not in repr(event)


def test_an_unknown_message_kind_is_no_event() -> None:
    assert read_event(ProcessingRequest()) is None


def test_a_changed_body_brings_its_length() -> None:
    reply = ProcessingResponse.FromString(reply_message(PassRequestBody(data=b"new body")))
    response = reply.request_body.response
    assert response.body_mutation.body == b"new body"
    (option,) = response.header_mutation.set_headers
    assert (option.header.key, option.header.raw_value) == ("content-length", b"8")
    untouched = ProcessingResponse.FromString(reply_message(PassRequestBody()))
    assert not untouched.request_body.response.HasField("body_mutation")


def test_a_streamed_piece_says_whether_it_is_the_last() -> None:
    reply = ProcessingResponse.FromString(reply_message(AnswerData(data=b"", end=True)))
    streamed = reply.response_body.response.body_mutation.streamed_response
    assert (streamed.body, streamed.end_of_stream) == (b"", True)


def test_that_an_answer_was_cut_is_what_a_drawn_request_says() -> None:
    told = {
        cut: ProcessingResponse.FromString(reply_message(AnswerData(data=b"x", end=True, cut=cut)))
        for cut in (True, False)
    }
    # in the namespace and by the name that the access log's filter and the spans look at
    assert MessageToDict(told[True].dynamic_metadata) == {names.AUTHZ_METADATA: {names.TRACED: True}}
    assert not told[False].HasField("dynamic_metadata")


def test_a_refusal_must_be_rendered_first() -> None:
    with pytest.raises(ValueError, match="rendered"):
        reply_message(Refuse(decision=deny(Cause.FAULT)))
