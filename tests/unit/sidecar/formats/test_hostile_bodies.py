"""Whatever bytes come, every format reads them, or refuses them with a cause; an edit changes its own token alone."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bartizan.policy.bundle import GuardModel, GuardPlan
from bartizan.policy.checks import Pii
from bartizan.policy.schema import Protocol, Route
from sidecar.formats.base import AnswerStream, Document, Format, FormatError
from sidecar.formats.catalog import build_format
from sidecar.model.decision import Cause

CASES = int(os.environ.get("BARTIZAN_FUZZ_CASES", "150"))
PATHS = {
    "openai": ("/v1/chat/completions", "/v1/completions", "/v1/responses"),
    "anthropic": ("/v1/messages",),
    "ollama": ("/api/chat", "/api/generate"),
    "mcp": ("/mcp",),
    "kserve_v2": ("/v2/models/m/infer",),
    "kserve_v1": ("/v1/models/m:predict",),
    "json_fields": ("/predict",),
    "image": ("/predict",),
    "opaque": ("/x",),
}
STREAMS = {"openai": "text/event-stream", "anthropic": "text/event-stream", "mcp": "text/event-stream"}
STREAMS["ollama"] = "application/x-ndjson"
READ = sorted(PATHS.keys() - {"opaque", "image"})
"""Those whose requests are JSON; forms are in test_multipart.py."""
KEYS = """
model stream messages role content type text thinking input output prompt system tools tool_calls function arguments
name choices delta message index finish_reason response part item usage done jsonrpc method params result id inputs
data predictions instances source content_block sequence_number output_index logprobs embedding images error b64
""".split()  # noqa: SIM905
STRINGS = [
    "user",
    "assistant",
    "text",
    "2.0",
    "message",
    "tool_use",
    "response.output_text.delta",
    "message_start",
]
STRINGS += [
    "content_block_delta",
    "function_call",
    "image",
    "reasoning",
    "response.completed",
    "content_block_start",
]
VALUES = st.recursive(
    st.one_of(
        st.sampled_from(STRINGS),
        st.text(max_size=8),
        st.none(),
        st.booleans(),
        st.integers(-2, 10**20),
        st.sampled_from([10**400, -(10**4299)]),
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=4)), inner, max_size=5),
    ),
    max_leaves=20,
)
BODIES = st.one_of(VALUES.map(lambda value: json.dumps(value).encode()), st.binary(max_size=60))


def make(protocol: str) -> Format:
    model = GuardModel(name="m", protocol=protocol)  # type: ignore[arg-type]
    route = Route(path="/predict", input_text=("$.text",), output_text=("$.text",))
    plan = GuardPlan(
        id="1.1", policy="a/b", revision=1, model=model, tenants=("t",), routes=(route,), output=(Pii(),)
    )
    return build_format(plan)


FORMATS = {protocol: make(protocol) for protocol in PATHS}


def test_every_protocol_is_here() -> None:
    assert set(PATHS) == set(get_args(Protocol))


@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    protocol=st.sampled_from(READ),
    body=BODIES,
    answer=st.booleans(),
    status=st.sampled_from([200, 307, 400, 500]),
)
def test_a_body_is_read_or_refused(protocol: str, body: bytes, answer: bool, status: int) -> None:
    form = FORMATS[protocol]
    for path in PATHS[protocol]:
        cause, document = None, None
        try:
            if answer:
                document = form.decode_answer(path, "application/json", body, status)
            else:
                document = form.decode_request(path, "application/json", body)
        except FormatError as error:
            cause = error.cause
        if document is None:
            assert answer is (cause is Cause.ANSWER_MALFORMED)
        else:
            _changes_only_what_it_says(document, body, untouched=not answer)


def _changes_only_what_it_says(document: Document, body: bytes, *, untouched: bool) -> None:
    parts = list(document.texts())
    before = document.encode()
    if untouched:
        assert before is body
    assert len({part.location for part in parts}) == len(parts)
    if not parts or not before:
        return
    for part in document.texts():
        document.replace(part.location, part.text)
    assert _as_texts(document.encode()) == _as_texts(before), "the same texts put back"


def _as_texts(body: bytes) -> Any:
    """With numbers as the texts that checks see."""
    return json.loads(
        body, parse_int=lambda digits: str(int(digits)), parse_float=lambda digits: str(float(digits))
    )


@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    protocol=st.sampled_from(sorted(STREAMS)),
    events=st.lists(
        st.one_of(BODIES, VALUES.map(lambda value: json.dumps({"choices": [value]}).encode())), max_size=4
    ),
    size=st.integers(1, 40),
)
def test_a_stream_is_read_or_refused(protocol: str, events: list[bytes], size: int) -> None:
    lines = protocol == "ollama"
    data = b"".join(event + b"\n" if lines else b"data: " + event + b"\n\n" for event in events)
    for path in PATHS[protocol]:
        stream = FORMATS[protocol].answer_stream(path, STREAMS[protocol])
        assert stream is not None
        with contextlib.suppress(FormatError):
            for at in range(0, len(data), size):
                stream.feed(data[at : at + size], end=False)
                _taken(stream)
            stream.feed(b"", end=True)
            _taken(stream)
        stream.cut("d1")


def _taken(stream: AnswerStream) -> None:
    for piece in stream.events():
        stream.take([part.text for part in piece.texts])


ATTACKS: list[tuple[bytes, Cause]] = [
    (b'{"messages": [], "messages": [1]}', Cause.DUPLICATE_KEYS),
    (b'{"jsonrpc": "2.0", "method": "a", "method": "b"}', Cause.DUPLICATE_KEYS),
    (b'{"a": {"x": 1, "X": 2}}', Cause.DUPLICATE_KEYS),
    (b'{"a": "\xff"}', Cause.MALFORMED_BODY),
    (b'\xef\xbb\xbf{"a": 1}', Cause.MALFORMED_BODY),
    ('{"a": "x"}'.encode("utf-16"), Cause.MALFORMED_BODY),
    (b'{"a": "\\udc00"}', Cause.MALFORMED_BODY),
    (b'{"a": NaN}', Cause.MALFORMED_BODY),
    (b'{"a": ' + b"9" * 5000 + b"}", Cause.MALFORMED_BODY),
    (b'{"a": 1} {"b": 2}', Cause.MALFORMED_BODY),
    (b"[" * 100_000, Cause.BODY_TOO_DEEP),
    (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, Cause.BODY_TOO_DEEP),
]


@pytest.mark.parametrize("protocol", READ)
@pytest.mark.parametrize(("body", "cause"), ATTACKS)
def test_bodies_that_two_readers_could_read_differently_are_refused(
    protocol: str, body: bytes, cause: Cause
) -> None:
    with pytest.raises(FormatError) as caught:
        FORMATS[protocol].decode_request(PATHS[protocol][0], "application/json", body)
    assert caught.value.cause is cause


@pytest.mark.parametrize("protocol", sorted({*READ} - {"json_fields"}))
@pytest.mark.parametrize("digits", [310, 400, 4300])
def test_a_whole_number_beyond_all_floats_is_read_as_text_or_passes(protocol: str, digits: int) -> None:
    body = b'{"jsonrpc": "2.0", "method": "m", "inputs": [], "outputs": [], "x": %s}' % (b"9" * digits)
    form, path = FORMATS[protocol], PATHS[protocol][0]
    for document in (
        form.decode_request(path, "application/json", body),
        form.decode_answer(path, "application/json", body),
    ):
        assert document.encode() == body
        if not protocol.startswith("kserve"):
            assert "9" * digits in {part.text for part in document.texts()}


@pytest.mark.parametrize("protocol", READ)
def test_a_denial_is_json_with_its_decision(protocol: str) -> None:
    kind, body = FORMATS[protocol].error_body(403, "The request was refused.", "d" * 32)
    assert kind.endswith("json")
    assert "d" * 32 in body.decode()
    assert isinstance(json.loads(body), dict)
