"""What engines pad events with so that nobody counts their letters: no text, but read for what a word may hide in."""

from __future__ import annotations

import json

import pytest

from bartizan.policy.checks import Canary, Pii
from sidecar.checks.catalog import build_checks
from sidecar.checks.stream import StreamInspector
from sidecar.formats.openai_stream import openai_stream
from sidecar.formats.responses_stream import responses_stream
from sidecar.formats.sse import encode
from sidecar.model.finding import Action

CHECKS = build_checks(
    (Pii(types=("card", "email"), action="redact"), Canary(tokens=("zebra7731",), action="redact"))
)
PROTOCOLS = pytest.mark.parametrize("protocol", ["chat", "responses"])


def padded(protocol: str, words: list[str]) -> tuple[StreamInspector, bytes]:
    """A stream whose events are padded so, and what is left of it."""
    stream = openai_stream(legacy=False) if protocol == "chat" else responses_stream()
    inspector = StreamInspector(stream, CHECKS, shadow=False)
    said = (
        {"id": "c", "choices": [{"index": 0, "delta": {"content": "a"}}]}
        if protocol == "chat"
        else {"type": "response.output_text.delta", "item_id": "m", "output_index": 0, "delta": "a"}
    )
    name = b"" if protocol == "chat" else b"response.output_text.delta"
    events = [encode(json.dumps({**said, "obfuscation": word}).encode(), name) for word in words]
    return inspector, b"".join(inspector.feed(event, end=False).data for event in events)


@PROTOCOLS
def test_padding_is_an_identifier_that_no_check_edits(protocol: str) -> None:
    words = ["ZGF", "kJ", "", "12345a67890"]
    (inspector, out), (bare, _) = padded(protocol, words), padded(protocol, [""] * 4)
    assert all(b'"obfuscation": "%s"' % word.encode() in out for word in words)
    assert not inspector.unscanned
    read = sum(map(len, words))
    assert inspector.total_bytes == inspector.scanned_bytes == bare.total_bytes + read


@pytest.mark.parametrize("word", ["4111111111111111", "a@b.example", "A" * 33])
@PROTOCOLS
def test_padding_that_may_say_something_is_text(protocol: str, word: str) -> None:
    inspector, out = padded(protocol, ["ZGF", "kJ", word])
    assert list(inspector.unscanned) == ["unknown_field"]
    assert (word.encode() in out) == (word == "A" * 33)


@PROTOCOLS
def test_a_canary_in_padding_ends_the_answer(protocol: str) -> None:
    inspector, out = padded(protocol, ["ZGF", "kJ", "zebra7731"])
    found = [(each.check, each.action, each.location) for each in inspector.findings]
    assert found == [("canary", Action.CUT, "obfuscation")]
    assert b"zebra7731" not in out
