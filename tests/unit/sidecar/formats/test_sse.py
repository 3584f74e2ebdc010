"""Events of a stream, split anywhere, keep their bytes and their data."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.formats.ndjson import LineSplitter
from sidecar.formats.sse import EventSplitter

LINE = st.sampled_from(
    [b"data: a", b"data:b", b"data", b": ping", b"id: 7", b"event: x", b"datax: c", b"data:  {}"]
)
END = st.sampled_from([b"\n", b"\r\n", b"\r"])


@given(
    st.lists(st.tuples(st.lists(LINE, min_size=1, max_size=3), END), max_size=5), st.lists(st.integers(1, 9))
)
def test_events_do_not_depend_on_the_split(events: list[tuple[list[bytes], bytes]], sizes: list[int]) -> None:
    stream = b"".join(b"".join(line + end for line in lines) + end for lines, end in events)
    whole = EventSplitter().feed(stream, end=True)
    splitter = EventSplitter()
    got = []
    at = 0
    for size in sizes:
        got += splitter.feed(stream[at : at + size], end=False)
        at += size
    got += splitter.feed(stream[at:], end=True)
    assert [event.raw for event in got] == [event.raw for event in whole]
    assert b"".join(event.raw for event in got) == stream
    assert len(got) == len(events)


@pytest.mark.parametrize(
    ("raw", "data"),
    [
        (b"data: x\n\n", b"x"),
        (b"data:x\r\n\r\n", b"x"),
        (b"data: a\ndata: b\n\n", b"a\nb"),
        (b": comment\n\n", None),
        (b"event: ping\ndata\n\n", b""),
        (b"\xef\xbb\xbfdata: x\n\n", b"x"),
    ],
)
def test_data_lines_are_joined(raw: bytes, data: bytes | None) -> None:
    assert EventSplitter().feed(raw, end=False)[0].data == data


def test_new_data_takes_the_place_of_the_old() -> None:
    event = EventSplitter().feed(b"id: 1\r\ndata: a\r\ndata: b\r\nevent: e\r\n\r\n", end=False)[0]
    assert event.with_data(b"x\ny") == b"id: 1\r\ndata: x\r\ndata: y\r\nevent: e\r\n\r\n"


@pytest.mark.parametrize("size", [1, 50, 400])
@pytest.mark.parametrize("ending", [b"", b"\n\ndata: b\n\n"])
def test_an_event_that_is_too_large_ends_the_stream_however_it_comes(size: int, ending: bytes) -> None:
    data = b"data: a\n\n" + b"data: " + b"x" * 200 + ending
    for splitter in (EventSplitter(100), LineSplitter(100)):
        got: list[Any] = []
        for at in range(0, len(data), size):
            got += splitter.feed(data[at : at + size], end=at + size >= len(data))
            if splitter.over:
                break
        assert splitter.over
        assert [event.data for event in got if event.data] in ([b"a"], [b"data: a"])


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        (b"data: a\n\n", b"data: a\n\n"),
        (b"event: message\r\ndata:a\r\ndata: b\r\n\r\n", b"event: message\r\ndata:a\r\ndata: b\r\n\r\n"),
        (b":\n\n", b":\n\n"),
        (b": secret\n\n", b":\n\n"),
        (b"retry: 7\n\n", b""),
        (b"id: secret\n\n", b""),
        (b": secret\nid: secret\nevent: secret\nretry: 1\nmore: secret\ndata: a\n\n", b"data: a\n\n"),
        (b"id: secret\nevent: message\ndata: a\ndata: b\n\n", b"event: message\ndata: a\ndata: b\n\n"),
        (b"\xef\xbb\xbfdata: a\r\r", b"data: a\n\n"),
        (b"note\ndata\n\n", b"data: \n\n"),
    ],
)
def test_only_data_leaves_what_a_check_read(raw: bytes, kept: bytes) -> None:
    (event,) = EventSplitter().feed(raw, end=True)
    cleaned = event.only_data(frozenset({b"message"}))
    assert (cleaned.raw, cleaned.data) == (kept, event.data)
