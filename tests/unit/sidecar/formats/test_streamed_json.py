"""Streamed JSON texts: what checks see of them, and that what goes out is the same JSON."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.formats.ndjson import LineSplitter
from sidecar.formats.streamed_json import StreamedJson

VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=12)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


def pieces(text: str, cuts: list[int]) -> list[str]:
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[start:end] for start, end in pairwise(places)]


@pytest.mark.parametrize(
    ("text", "view"),
    [
        (r'{"a": "\u006a\n\t\u001b"}', '{"a": "j\n\t\x1b"}'),
        (r'{"a": "\ud83d\ude00x"}', '{"a": "😀x"}'),
        (r'{"a": "\ud83dx\ude00"}', '{"a": "\ufffdx\ufffd"}'),
        (r'{"a": "\"\\\/\u0022\u005c"}', r'{"a": "\"\\/\"\\"}'),
        (r'{"a": "C:\\new"}', r'{"a": "C:\\new"}'),
        ('{\n\t"a":\r\n 1}', '{  "a":   1}'),
        (r"say \u006aane\n", "say jane\n"),
        ("\t\r \tno\tJSON", "    no\tJSON"),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_the_view_hides_nothing_behind_escapes(text: str, view: str, size: int) -> None:
    streamed = StreamedJson()
    assert "".join(streamed.read(text[at : at + size]) for at in range(0, len(text), size)) == view


@given(value=st.one_of(VALUES.map(lambda value: {"a": value}), st.lists(VALUES)),
       cuts=st.lists(st.integers(0, 300), max_size=8), back=st.lists(st.integers(0, 300), max_size=8),
       ascii_only=st.booleans(), indent=st.sampled_from([None, 2]))  # fmt: skip
def test_the_view_written_back_means_the_same(
    value: Any, cuts: list[int], back: list[int], ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    streamed = StreamedJson()
    view = "".join(streamed.read(piece) for piece in pieces(text, cuts))
    assert json.loads("".join(streamed.write(piece) for piece in pieces(view, back))) == value


def test_what_takes_a_numbers_place_is_a_string() -> None:
    streamed = StreamedJson()
    streamed.read('{"card": 4111111111111111, "list": ["x"]}')
    out = streamed.write('{"card": [CARD], "list": ["[EMAIL]"]}')
    assert json.loads(out) == {"card": "[CARD]", "list": ["[EMAIL]"]}


@given(lines=st.lists(st.binary(max_size=9).map(lambda line: line.replace(b"\n", b"")), max_size=6),
       cuts=st.lists(st.integers(0, 60), max_size=6), ended=st.booleans())  # fmt: skip
def test_lines_are_split_the_same_however_they_come(lines: list[bytes], cuts: list[int], ended: bool) -> None:
    data = b"\n".join(lines) + (b"\n" if ended and lines else b"")
    splitter = LineSplitter()
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    got = [line for a, b in pairwise(places) for line in splitter.feed(data[a:b], end=False)]
    got += splitter.feed(b"", end=True)
    assert b"".join(line.raw for line in got) == data
    assert [line.data for line in got if line.data] == [
        line.strip(b" \t\r") for line in lines if line.strip(b" \t\r")
    ]


def test_a_line_keeps_its_end() -> None:
    (line,) = LineSplitter().feed(b'{"a": 1}\r\n', end=False)
    assert (line.data, line.with_data(b"{}")) == (b'{"a": 1}', b"{}\r\n")
