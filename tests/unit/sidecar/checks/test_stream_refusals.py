"""A stream that can't be read any further: what stood before that is looked at, and flows, whatever the chunks."""

from __future__ import annotations

import pytest

from bartizan.policy.schema import Protocol
from sidecar.formats.base import UNDELIVERED, FormatError
from sidecar.formats.sse import MAX_EVENT_BYTES
from sidecar.model.decision import Cause
from tests.support.formats import make
from tests.support.streams import checks, chunk, received, run

TOO_LARGE = b"data: " + b"x" * (MAX_EVENT_BYTES + 1)


@pytest.mark.parametrize("end", [b"data: {not JSON}\n\n", TOO_LARGE, TOO_LARGE + b"\n\n"])
@pytest.mark.parametrize("shadow", [False, True])
def test_what_stands_before_an_unreadable_event_does_not_depend_on_the_chunks(
    end: bytes, shadow: bool
) -> None:
    event = chunk({"content": "ask jane@example.org or bob@example.org"})
    for sizes in ([], [len(event)], [40, 200]):
        outputs = run(event + end, sizes, checks(), shadow=shadow)
        out = b"".join(output.data for output in outputs)
        if shadow:
            assert out == event + end
        else:
            assert outputs[-1].cause in {Cause.ANSWER_MALFORMED, Cause.ANSWER_TOO_LARGE}
            assert received(out)["0.content"] == "ask [EMAIL] or "
        assert [finding.kind for output in outputs for finding in output.findings] == ["email"]


@pytest.mark.parametrize(
    ("protocol", "path", "kind", "said"),
    [
        ("openai", "/v1/chat/completions", "text/event-stream", '"type": "server_error"'),
        ("openai", "/v1/completions", "text/event-stream", '"type": "server_error"'),
        ("openai", "/v1/responses", "text/event-stream", "event: response.failed"),
        ("anthropic", "/v1/messages", "text/event-stream", "event: error"),
        ("ollama", "/api/chat", "application/x-ndjson", '{"error": '),
    ],
)
def test_clients_are_told_of_a_fault_and_not_of_a_refusal(
    protocol: Protocol, path: str, kind: str, said: str
) -> None:
    stream = make(protocol).answer_stream(path, kind)
    assert stream is not None
    with pytest.raises(FormatError):
        stream.feed(b"data: {not JSON}\n\n", end=False)
    ended = stream.fail("d1").decode()
    assert said in ended
    assert UNDELIVERED in ended
    assert "d1" in ended
    assert "content_filter" not in ended
