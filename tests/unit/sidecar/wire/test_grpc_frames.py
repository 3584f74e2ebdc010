"""gRPC's messages, statuses and timeouts, for any bytes in any pieces."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.wire import grpc_status as status
from sidecar.wire.grpc_frames import BadFrame, MessageReader, frame, whole
from tests.fuzz.fuzz_grpc_frames import MOST, check, one_input

MESSAGES = st.lists(st.binary(max_size=300), max_size=8)
CUTS = st.binary(max_size=8)


@given(st.binary(max_size=600), CUTS, st.booleans())
@example(b"\0\0\0\0\0" * 3, b"\0", False)
@example(b"\0\0\0\x10\x00" + bytes(MOST), b"", True)
@example(b"\0\0\0\x10\x01" + bytes(MOST), b"", True)
@example(b"\1", b"", False)
def test_any_bytes_in_any_pieces_mean_the_same(data: bytes, cuts: bytes, eager: bool) -> None:
    check(data, cuts, eager=eager)


@given(MESSAGES, st.binary(max_size=20), CUTS, st.booleans())
def test_messages_in_any_pieces_come_whole(
    messages: list[bytes], rest: bytes, cuts: bytes, eager: bool
) -> None:
    check(b"".join(map(frame, messages)) + rest, cuts, eager=eager)


@given(st.binary(max_size=400))
def test_the_fuzzers_entry_takes_any_input(data: bytes) -> None:
    one_input(data)


@given(st.binary(max_size=300))
def test_a_framed_message_is_read_in_one_step(message: bytes) -> None:
    assert whole(frame(message), MOST) == message


@pytest.mark.parametrize("data", [b"", b"\0\0\0\0", b"\0\0\0\0\1", b"\1\0\0\0\0", b"\0\0\0\0\0\0"])
def test_what_is_not_exactly_one_message_is_not_read_in_one_step(data: bytes) -> None:
    assert whole(data, MOST) is None


def test_a_bad_head_waits_for_the_messages_before_it_and_what_follows_is_dropped() -> None:
    reader = MessageReader(MOST)
    reader.feed(frame(b"good") + b"\2")
    assert reader.take() == b"good"
    with pytest.raises(BadFrame, match="malformed"):
        reader.take()
    reader.feed(bytes(1000))
    assert len(reader) == 0


@given(st.text(max_size=200))
def test_a_status_text_is_printable_ascii_and_comes_back(text: str) -> None:
    encoded = status.percent_encoded(text)
    assert all(0x20 <= each <= 0x7E for each in encoded)
    assert unquote(encoded.decode()) == text.encode("utf-8", "replace").decode()


@given(st.integers(-5, 40), st.text(max_size=20))
def test_only_the_code_0_is_ok(code: int, text: str) -> None:
    (_, value), *_ = status.trailers(code, text)
    assert (value == b"0") is (code == 0)
    assert 0 <= int(value) <= 16


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"1H", 3600),
        (b"2M", 120),
        (b"3S", 3),
        (b"200m", 0.2),
        (b"5u", 5e-6),
        (b"99999999n", 0.099999999),
        (b"0S", 0),
    ],
)
def test_a_timeout_is_read_in_seconds(text: bytes, expected: float) -> None:
    assert status.seconds(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    "text", [b"", b"1", b"S", b"123456789S", b"-1S", b"1.5S", b"1s", b"1S ", b"\xd9\xa1S"]
)
def test_a_malformed_timeout_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="malformed"):
        status.seconds(text)
