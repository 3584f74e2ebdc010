"""What waits for a peer's windows is sent when they open, and costs nothing until then."""

from __future__ import annotations

import sys
from types import FrameType

import pytest

from sidecar.wire import http2_frames as frames
from sidecar.wire.http2_outbox import Outbox
from sidecar.wire.http2_seam import Lane
from tests.integration.wire import raw_h2 as h2


def filled(lanes: int, *, initial: int) -> Outbox:
    """Streams whose answers wait."""
    box = Outbox()
    box.widen(1 << 20)
    box.resize(initial)
    for number in range(1, 2 * lanes, 2):
        box.lanes[number] = lane = Lane(number, initial, ended=True)
        box.say(lane, bytes(95))
        box.end(lane, b"")
    box.take()
    return box


def calls(box: Outbox) -> int:
    """Calls of Python functions that a look at the box and `take` make."""
    counted = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal counted
        counted += event == "call"

    sys.setprofile(count)
    try:
        assert not box
        assert not box.take()
    finally:
        sys.setprofile(None)
    return counted


@pytest.mark.parametrize("initial", [0, 40])
def test_streams_that_wait_for_their_own_windows_cost_nothing(initial: int) -> None:
    assert calls(filled(1000, initial=initial)) == calls(filled(1, initial=initial))


def test_a_stream_goes_on_when_its_window_or_that_of_all_opens() -> None:
    box = filled(3, initial=40)
    assert box.widen_lane(box.lanes[3], 50)
    assert box
    assert box.take() == h2.frame(h2.DATA, 0, 3, bytes(50))
    assert not box
    box.resize(0)
    box.resize(41)
    assert box
    assert box.take() == b"".join(h2.frame(h2.DATA, 0, number, bytes(1)) for number in (1, 3, 5))
    box.resize(2000)
    assert box.take().count(h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 1)) == 1
    assert not box.lanes


def test_a_window_below_zero_holds_back_what_it_let_through_before() -> None:
    box = filled(1, initial=40)
    assert box.widen_lane(box.lanes[1], 30)
    box.resize(10)  # 30 are left after what was sent, 30 are taken back
    assert not box
    assert not box.take()
    assert box.widen_lane(box.lanes[1], 1)
    assert box.take() == h2.frame(h2.DATA, 0, 1, bytes(1))


def test_a_peer_that_changes_the_window_of_all_streams_on_and_on_is_told_to_calm_down() -> None:
    box = Outbox()
    for size in range(1000):
        box.resize(65_535 + size % 2)
        box.put(b"acknowledged")
        box.take()
    with pytest.raises(frames.ConnectionBroken) as raised:
        for size in range(1000):
            box.resize(70_000 + size % 2)
    assert raised.value.code == h2.CALM
