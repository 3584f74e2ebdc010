"""Lists of whole numbers in answers: tokens and bytes say the text again, page numbers do not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidecar.formats.openai import OpenAIFormat

JSON = "application/json"
FORMAT = OpenAIFormat()


@pytest.mark.parametrize(
    ("key", "numbers", "kept"),
    [
        ("citations", [1, 2], True),
        ("sources", [1, 3], True),
        ("pages", list(range(16)), True),
        ("pages", list(range(17)), False),
        ("ids", [1], False),
        ("output_tokens", [5], False),
        ("tokenIds", [5], False),
        ("bytes", [[67, 65], [78]], False),
    ],
)
def test_short_lists_of_numbers_stay_but_where_they_are_called_tokens(
    key: str, numbers: list[Any], kept: bool
) -> None:
    body = json.dumps({"choices": [{"message": {"content": "c", key: numbers}}]}).encode()
    document = FORMAT.decode_answer("/x", JSON, body)
    assert (document.encode() == body) is kept
    assert document.unscanned() == (() if kept else ("whole_numbers",))
    stream = FORMAT.answer_stream("/v1/chat/completions", "text/event-stream")
    assert stream is not None
    stream.feed(b"data: " + json.dumps({"choices": [], key: numbers}).encode() + b"\n\n", end=True)
    assert ("whole_numbers" in stream.events()[0].unscanned) is not kept
