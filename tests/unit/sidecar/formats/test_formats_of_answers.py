"""The formats' rules for answers and errors: which are read, and what our own look like."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest

from bartizan.policy.schema import Protocol
from sidecar.formats.base import FormatError
from sidecar.model.decision import Cause
from tests.support.formats import JSON, make, refusal


def test_keys_of_an_answer_may_differ_by_case_alone() -> None:
    document = make("json_fields").decode_answer("/predict", JSON, b'{"error":"a","Error":"b"}', 500)
    assert [part.text for part in document.texts()] == ["a", "Error", "b"]


def test_scores_may_be_lists_and_objects_of_numbers() -> None:
    body = b'{"echo":"e","probabilities":{"a.b":0.125,"c":[1e-7,1]}}'
    document = make("json_fields").decode_answer("/predict", JSON, body)
    assert [score.value for score in document.scores()] == [0.125, 1e-07, 1]
    document.set_score('probabilities["a.b"]', 0.12)
    assert document.encode() == body.replace(b"0.125", b"0.12")


@pytest.mark.parametrize(
    "body",
    [
        b'{"echo":"e"}',
        b'{"echo":"e","probabilities":"0.5"}',
        b'{"echo":"e","probabilities":[NaN]}',
        b'{"echo":"e","probabilities":[true]}',
        b'{"echo":"e","probabilities":[null]}',
        b'{"echo":"e","probabilities":1e999}',
        b'{"probabilities":[0.5]}',
        b"oops",
        b"",
    ],
)
def test_answers_without_their_declared_fields_are_malformed(body: bytes) -> None:
    assert refusal("json_fields", body, path="/predict", answer=True) is Cause.ANSWER_MALFORMED


@pytest.mark.parametrize("protocol", ["openai", "json_fields"])
def test_error_answers_are_text_whatever_their_shape(protocol: Protocol) -> None:
    form = make(protocol)
    document = form.decode_answer("/predict", JSON, b'{"detail":[{"msg":"m","input":"a@b.de"}]}', 422)
    assert [part.text for part in document.texts()] == ["m", "a@b.de"]
    plain = form.decode_answer("/predict", "text/plain", b"see a@b.de", 307)
    plain.replace("body", "see [EMAIL]")
    assert plain.encode() == b"see [EMAIL]"


@pytest.mark.parametrize("protocol", ["openai", "json_fields"])
@pytest.mark.parametrize(("kind", "body"), [("text/plain", b"Traceback"), ("", b"{}"), (JSON, b"Traceback")])
def test_errors_that_are_not_json_are_not_read(protocol: Protocol, kind: str, body: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        make(protocol).decode_answer("/predict", kind, body, 500)
    assert caught.value.cause is Cause.ANSWER_MALFORMED


@pytest.mark.parametrize(
    ("protocol", "path", "kind", "status", "reads"),
    [
        ("json_fields", "/predict", JSON, 200, True),
        ("json_fields", "/predict", "application/problem+json; charset=utf-8", 500, True),
        ("json_fields", "/predict", "text/event-stream", 200, False),
        ("json_fields", "/predict", "", 200, False),
        ("json_fields", "/predict", "text/plain", 500, False),
        ("json_fields", "/predict", "text/plain", 307, True),
        ("json_fields", "/nothing-declared", "image/png", 200, True),
        ("json_fields", "/nothing-declared", "text/plain", 500, False),
        ("openai", "/v1/chat/completions", "text/event-stream", 200, True),
        ("openai", "/v1/chat/completions", "text/event-stream", 500, False),
        ("openai", "/v1/chat/completions", "text/html", 200, False),
        ("opaque", "/x", "image/png", 200, True),
        ("opaque", "/x", "text/plain", 500, True),
    ],
)
def test_content_types_tell_which_answers_can_be_read(
    protocol: Protocol, path: str, kind: str, status: int, reads: bool
) -> None:
    assert make(protocol).reads_answer(path, kind, status) is reads


@pytest.mark.parametrize("protocol", get_args(Protocol))
def test_error_bodies_speak_the_clients_protocol(protocol: Protocol, golden: Any) -> None:
    kind, body = make(protocol).error_body(403, "The request was refused.", "d" * 32)
    golden(f"formats/{protocol}/denial.json", f"{kind}\n{json.dumps(json.loads(body), indent=2)}\n")
