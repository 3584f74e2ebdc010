"""The rules of KServe v1 and v2: what is refused, what is named as unread, which numbers are scores."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidecar.formats.base import FILE_DATA, SHARED_MEMORY, TENSOR, FormatError
from sidecar.formats.predict import PredictFormat
from sidecar.model.decision import Cause

JSON = "application/json"
V1 = PredictFormat("kserve_v1", strict=False)
V2 = PredictFormat("kserve_v2", strict=True)


@pytest.mark.parametrize("body", [[], "x", {}, {"inputs": {}}, {"inputs": "x"}])
def test_v2_bodies_must_have_their_tensors(body: Any) -> None:
    data = json.dumps(body).encode()
    with pytest.raises(FormatError) as caught:
        V2.decode_request("/v2/models/m/infer", JSON, data)
    assert caught.value.cause is Cause.MALFORMED_BODY
    with pytest.raises(FormatError) as caught:
        V2.decode_answer("/v2/models/m/infer", JSON, data)
    assert caught.value.cause is Cause.ANSWER_MALFORMED


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (b'{"instances": [1], "instances": [2]}', Cause.DUPLICATE_KEYS),
        (b'{"instances": [1], "Instances": [2]}', Cause.DUPLICATE_KEYS),
        (b'{"instances": ["\xff"]}', Cause.MALFORMED_BODY),
        (b'{"instances": [NaN]}', Cause.MALFORMED_BODY),
        (b'{"instances": ["\\ud800"]}', Cause.MALFORMED_BODY),
        (b'{"instances": ' + b"[" * 40 + b"]" * 40 + b"}", Cause.BODY_TOO_DEEP),
        (b"", Cause.MALFORMED_BODY),
    ],
)
def test_hostile_bodies_are_refused(body: bytes, cause: Cause) -> None:
    with pytest.raises(FormatError) as caught:
        V1.decode_request("/v1/models/m:predict", JSON, body)
    assert caught.value.cause is cause


@pytest.mark.parametrize("kind", ["application/octet-stream", "text/plain", ""])
def test_binary_tensors_are_refused(kind: str) -> None:
    with pytest.raises(FormatError) as caught:
        V2.decode_request("/v2/models/m/infer", kind, b'{"inputs": []}')
    assert caught.value.cause is Cause.UNSUPPORTED_MEDIA_TYPE


def test_what_no_check_reads_is_named() -> None:
    body = {
        "inputs": [
            {"name": "a", "parameters": {"shared_memory_region": "r"}},
            {"name": "b", "datatype": "BYTES", "data": [{"b64": "aGk="}]},
            {"name": "c", "datatype": "FP32", "data": [0.5, 7]},
        ]
    }
    made = V2.decode_request("/x", JSON, json.dumps(body).encode())
    assert list(made.unscanned()) == [FILE_DATA, SHARED_MEMORY, TENSOR]


def test_names_are_text_where_they_look_like_it() -> None:
    body = b'{"inputs": [{"name": "say jane@example.org", "datatype": "BYTES", "data": ["a"]}], "id": "r1"}'
    assert [part.text for part in V2.decode_request("/x", JSON, body).texts() if not part.identifier] == [
        "say jane@example.org",
        "a",
    ]


CARD = "4111-1111-1111-1111"


@pytest.mark.parametrize("name", ["id", "name", "platform", "datatype", "model_name", "signature_name"])
@pytest.mark.parametrize(
    "body",
    [
        lambda name: {"instances": [{name: CARD}]},
        lambda name: {"instances": {"id": [{"row": {name: CARD}}]}},
        lambda name: {"inputs": {"id": {name: CARD}}},
        lambda name: {"inputs": [{"parameters": {name: CARD}}]},
        lambda name: {"parameters": {name: CARD}},
    ],
)
def test_columns_that_are_called_like_the_protocols_identifiers_are_text(body: Any, name: str) -> None:
    data = json.dumps(body(name)).encode()
    asked, answered = V1.decode_request("/x", JSON, data), V1.decode_answer("/x", JSON, data)
    for made in (asked, answered):
        assert CARD in [part.text for part in made.texts()]


def test_huge_numbers_keep_their_digits() -> None:
    body = b'{"predictions": [1e400, 123456789012345678901234567890, 0.123456789], "note": "x"}'
    made = V1.decode_answer("/x", JSON, body)
    (score,) = made.scores()
    assert score.value == 0.123456789
    made.set_score(score.location, 0.12)
    assert made.encode() == body.replace(b"0.123456789", b"0.12")


def test_keys_are_text_and_may_be_redacted() -> None:
    made = V1.decode_request("/x", JSON, b'{"instances": [{"jane@example.org" : "v"}]}')
    first, *_ = made.texts()
    made.replace(first.location, "[EMAIL]")
    assert made.encode() == b'{"instances": [{"[EMAIL]" : "v"}]}'
