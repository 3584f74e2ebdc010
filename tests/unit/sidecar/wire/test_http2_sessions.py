"""Our session of HTTP/2 and libnghttp2's: what a peer sends means the same to both, and so does what they send to a peer."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.wire import grpc_status as status
from sidecar.wire.http2_seam import Lane, Session, Sessions
from sidecar.wire.http2_session import Http2Session
from sidecar.wire.http2_session_ngh2 import Ngh2Session
from tests.integration.wire import raw_h2 as h2

HELLO = h2.PREFACE + h2.frame(h2.SETTINGS) + h2.frame(h2.SETTINGS, h2.ACK)
MOST = 8


@dataclass
class Noted:
    """What a session tells."""

    streams: dict[int, list[object]] = field(default_factory=dict)
    pongs: int = 0

    def requested(self, lane: Lane, headers: status.Headers) -> None:
        assert lane.number not in self.streams
        self.streams[lane.number] = [headers]
        self._note_end(lane)

    def called(self, lane: Lane, headers: status.Headers, body: bytes) -> bool:
        self.streams[lane.number] = [headers]
        return self.data(lane, body)

    def data(self, lane: Lane, data: bytes) -> bool:
        if data:
            self.streams[lane.number].append(data)
        self._note_end(lane)
        return True

    def trailed(self, lane: Lane) -> None:
        self._note_end(lane)

    def lost(self, lane: Lane) -> None:
        assert lane.gone
        self.streams[lane.number].append("lost")

    def ponged(self) -> None:
        self.pongs += 1

    def _note_end(self, lane: Lane) -> None:
        if lane.ended:
            self.streams[lane.number].append("ended")


def begun(sessions: Sessions) -> tuple[Session, Noted]:
    noted = Noted()
    session = sessions(noted, MOST)
    session.receive(HELLO)
    session.output()
    return session, noted


NUMBERS = st.sampled_from([1, 3, 5, 7, 9, 11])
PATHS = st.sampled_from([b"/a", b"/b", b"/" + b"c" * 100])
REQUEST = st.builds(
    lambda number, path, ended, more: h2.frame(
        h2.HEADERS,
        h2.END_HEADERS | ended,
        number,
        h2.block(path) + b"".join(h2.literal(*each) for each in more),
    ),
    NUMBERS,
    PATHS,
    st.sampled_from([0, h2.END_STREAM]),
    st.lists(
        st.sampled_from(
            [
                (b"x-a", b"1"),
                (b"X-A", b"1"),
                (b"connection", b"close"),
                (b"te", b"gzip"),
                (b":path", b"/again"),
                (b"content-length", b"3"),
                (b"content-length", b"x"),
            ]
        ),
        max_size=2,
    ),
)
INDEXED = st.builds(  # fields that the table of header compression keeps, and refers to
    lambda number, name, value: h2.frame(
        h2.HEADERS,
        h2.END_HEADERS,
        number,
        b"\x83\x86\x44\x02/x" + bytes((0x40, len(name))) + name + bytes((len(value),)) + value + b"\xbe\xbf",
    ),
    NUMBERS,
    st.sampled_from([b"x-one", b"x-two"]),
    st.binary(max_size=20).map(lambda text: text.hex().encode()),
)
BODY = st.builds(
    lambda number, size, flags, padded: h2.frame(
        h2.DATA,
        flags | (h2.PADDED if padded is not None else 0),
        number,
        (b"" if padded is None else bytes((padded,))) + bytes(size + (padded or 0)),
    ),
    NUMBERS,
    st.sampled_from([0, 1, 3, 500]),
    st.sampled_from([0, h2.END_STREAM]),
    st.one_of(st.none(), st.integers(0, 4)),
)
RESET = st.builds(lambda number: h2.frame(h2.RST_STREAM, 0, number, bytes(4)), NUMBERS)
WIDER = st.builds(
    lambda where: h2.frame(h2.WINDOW_UPDATE, 0, where[0], h2.U32.pack(where[1])),
    st.sampled_from([(0, 1), (0, 70_000), (0, 0), (0, 0x7FFF_FFFF), (1, 1), (3, 70_000)]),
)
TRAILERS = st.builds(
    lambda number, ended: h2.frame(h2.HEADERS, h2.END_HEADERS | ended, number, h2.literal(b"x-last", b"y")),
    NUMBERS,
    st.sampled_from([0, h2.END_STREAM]),
)
SETTINGS = st.builds(
    lambda name, value: h2.frame(h2.SETTINGS, 0, 0, struct.pack(">HI", name, value)),
    st.integers(2, 6),
    st.sampled_from([0, 1, 16_384, 65_535, 1 << 24, 0xFFFF_FFFF]),
)
OTHER = st.sampled_from(
    [
        h2.frame(h2.PING, 0, 0, bytes(8)),
        h2.frame(h2.PRIORITY, 0, 1, bytes(5)),
        h2.frame(99, 3, 5, b"unknown"),
    ]
)
GOOD = st.one_of(REQUEST, INDEXED, BODY, BODY, RESET, WIDER, TRAILERS, SETTINGS, OTHER)


def told(frames: list[bytes], sessions: Sessions) -> tuple[Noted, int | None, Session]:
    """What was said, and before which frame the connection ended."""
    session, noted = begun(sessions)
    for at, each in enumerate(frames):
        session.receive(each)
        session.output()
        if session.closed:
            return noted, at, session
    return noted, None, session


@settings(max_examples=1500, deadline=None)
@given(st.lists(GOOD, max_size=12))
def test_frames_mean_the_same_to_both(frames: list[bytes]) -> None:
    ours, ended, _ = told(frames, Http2Session)
    theirs, theirs_ended, _ = told(frames, Ngh2Session)
    assert (ours.streams, ended) == (theirs.streams, theirs_ended)


PLAIN = st.builds(
    lambda path, size: (
        lambda number: (
            h2.frame(h2.HEADERS, h2.END_HEADERS, number, h2.block(path))
            + h2.frame(h2.DATA, h2.END_STREAM, number, bytes(size))
        )
    ),
    PATHS,
    st.sampled_from([0, 1, 300, 16_000]),
)
BETWEEN = st.one_of(BODY, RESET, WIDER, SETTINGS, OTHER).map(lambda made: lambda _number: made)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.one_of(PLAIN, PLAIN, BETWEEN), max_size=12))
def test_calls_of_one_read_mean_the_same_to_both(parts: list[Callable[[int], bytes]]) -> None:
    sent = b"".join(part(2 * at + 1) for at, part in enumerate(parts))
    ours, _, our_session = told([sent], Http2Session)
    theirs, _, their_session = told([sent], Ngh2Session)
    assert (ours.streams, our_session.closed) == (theirs.streams, their_session.closed)


@settings(max_examples=500, deadline=None)
@given(
    st.lists(st.one_of(PLAIN, PLAIN, BETWEEN), max_size=8),
    st.lists(st.integers(1, 60), max_size=40),
)
def test_where_reads_are_cut_means_nothing(parts: list[Callable[[int], bytes]], sizes: list[int]) -> None:
    sent = HELLO + b"".join(part(2 * at + 1) for at, part in enumerate(parts))
    pieces, at = list[bytes](), 0
    for size in sizes:
        pieces.append(sent[at : at + size])
        at += size
    whole, cut = Noted(), Noted()
    at_once, in_pieces = Http2Session(whole, MOST), Http2Session(cut, MOST)
    at_once.receive(sent)
    for piece in (*pieces, sent[at:]):
        in_pieces.receive(piece)
    assert (cut, in_pieces.closed) == (whole, at_once.closed)
