"""A peer's bytes are cut into the frames that they are, however they come."""

from __future__ import annotations

import pytest

from sidecar.wire import http2_frames as frames
from sidecar.wire.http2_reader import CALL, Frame, FrameReader
from tests.integration.wire import raw_h2 as h2

HELLO = h2.PREFACE + h2.frame(h2.SETTINGS)
HEAD = h2.frame(h2.HEADERS, h2.END_HEADERS, 1, b"block")


def read(*pieces: bytes) -> list[Frame]:
    reader = FrameReader()
    return [frame for piece in pieces for frame in reader.read(piece)]


@pytest.mark.parametrize("at", range(len(HELLO) + 1))
def test_the_preface_may_come_in_any_two_pieces(at: int) -> None:
    assert read(HELLO[:at], HELLO[at:]) == [(h2.SETTINGS, 0, 0, b"", b"")]


@pytest.mark.parametrize("size", [1, 16_384])
def test_a_block_and_the_frame_with_the_whole_body_are_one_call(size: int) -> None:
    body = h2.frame(h2.DATA, h2.END_STREAM, 1, bytes(size))
    assert read(HELLO, HEAD + body)[1:] == [(CALL, h2.END_STREAM, 1, b"block", bytes(size))]


@pytest.mark.parametrize("size", [16_385, 200_000])
def test_a_body_larger_than_a_frame_may_be_ends_the_connection_also_behind_its_block(size: int) -> None:
    with pytest.raises(frames.ConnectionBroken) as raised:
        read(HELLO, HEAD + h2.frame(h2.DATA, h2.END_STREAM, 1, bytes(size)))
    assert raised.value.code == h2.FRAME_SIZE_ERROR
