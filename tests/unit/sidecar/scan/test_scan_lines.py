"""Lines of a scan: texts and bodies, each bounded, none of them able to end the scan."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.formats.openai import OpenAIFormat
from sidecar.scan import lines
from sidecar.scan.lines import Reader

READER = Reader(OpenAIFormat(), "/v1/chat/completions")


def test_a_text_is_read_with_its_source() -> None:
    line = READER.read(3, b'{"text": "hi", "source": "chat", "label": 1}')
    assert (line.index, line.text, line.source, line.fault) == (3, "hi", "chat", "")


@pytest.mark.parametrize(
    ("name", "line", "source"),
    [("", {"tenant": "acme", "source": "web"}, "web"), ("team", {"team": 7}, "7"), ("", {"ip": True}, "")],
)
def test_the_source_is_the_member_that_was_named_or_a_usual_one(
    name: str, line: dict[str, object], source: str
) -> None:
    reader = Reader(OpenAIFormat(), "/", name)
    assert reader.read(0, json.dumps({"text": "x", **line}).encode()).source == source


def test_a_body_is_read_as_its_format_says() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    document = READER.read(0, json.dumps(body).encode()).document
    assert document is not None
    assert [(part.location, part.text) for part in document.texts() if part.text == "hi"] == [
        ("messages[0].content", "hi")
    ]


UNREADABLE = [
    b"",
    b"  ",
    b"{",
    b"[]",
    b'"x"',
    b'{"text": 1',
    b"\xff",
    b'{"text": "caf\xe9"}',
    b'{"messages": 4}',
]


@pytest.mark.parametrize("line", UNREADABLE)
def test_what_cannot_be_read_says_why(line: bytes) -> None:
    read = READER.read(0, line)
    assert read.fault
    assert (read.text, read.document) == (None, None)


@settings(deadline=None)
@given(st.one_of(st.binary(max_size=80), st.binary(max_size=40).map(lambda text: b'{"text": "%s"}' % text)))
def test_no_line_ends_a_scan(line: bytes) -> None:
    read = READER.read(0, line)
    assert sum((bool(read.fault), read.text is not None, read.document is not None)) == 1


def test_a_line_that_is_too_long_is_named_and_the_next_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_LINE", 40)
    data = b'{"text": "a"}\n' + b'{"text": "' + b"x" * 200_000 + b'"}\n{"text": "b"}'
    read = [READER.read(number, line) for number, line in enumerate(lines.lines(io.BytesIO(data)))]
    assert [line.text for line in read] == ["a", None, "b"]
    assert "longer than" in read[1].fault


def test_a_byte_order_mark_is_the_files_and_no_line_s() -> None:
    mark = b"\xef\xbb\xbf"
    data = mark + b'{"text": "a"}\r\n' + mark + b'{"text": "b"}\n'
    assert list(lines.lines(io.BytesIO(data))) == [b'{"text": "a"}', mark + b'{"text": "b"}']
