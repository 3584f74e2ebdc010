"""What pictures say of themselves is read as Pillow reads it, and nothing but a verdict comes of any bytes."""

from __future__ import annotations

import contextlib
import os
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.checks.images.containers import READERS, Malformed, read
from sidecar.formats.magic import kind_of
from tests.support.pictures import CANARY, KINDS, bomb, loaded, opened, picture, png

CASES = int(os.environ.get("BARTIZAN_FUZZ_CASES", "150"))
SEEDS = {kind: [loaded(kind), picture(kind, frames=1 if kind == "jpeg" else 3)] for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("frames", [1, 2, 5])
@pytest.mark.parametrize("size", [(1, 1), (64, 48), (300, 2)])
def test_size_and_frames_are_those_that_pillow_sees(kind: str, frames: int, size: tuple[int, int]) -> None:
    frames = 1 if kind == "jpeg" else frames
    data = picture(kind, frames=frames, size=size)
    found = read(kind, data + b"behind")
    assert (found.width, found.height) == size
    assert found.frames == getattr(opened(data), "n_frames", 1) == frames
    assert (found.end, found.metadata) == (len(data), False)


@pytest.mark.parametrize("kind", KINDS)
def test_metadata_and_what_follows_the_end_are_seen(kind: str) -> None:
    data = loaded(kind)
    found = read(kind, data)
    assert found.metadata
    assert found.end == len(data) - len(CANARY)


@pytest.mark.parametrize(
    "how", [{"progressive": True}, {"optimize": True}, {"subsampling": 0}, {"restart_marker_rows": 1}]
)
def test_jpegs_of_several_scans_and_restarts_are_read_to_their_end(how: dict[str, int]) -> None:
    data = picture("jpeg", size=(200, 200), **how)
    assert read("jpeg", data).end == len(data)


def test_a_jpeg_of_more_scans_than_encoders_write_is_malformed() -> None:
    data = picture("jpeg", size=(64, 64), progressive=True)
    start, end = data.rindex(b"\xff\xda"), len(data) - 2
    for more in (300, 23):
        with pytest.raises(Malformed):
            read("jpeg", data[:end] + data[start:end] * more + data[end:])
    again = data[:end] + data[start:end] * 22 + data[end:]
    assert read("jpeg", again).end == len(again)
    opened(again).load()


@pytest.mark.parametrize("lossless", [True, False])
def test_a_webp_says_whether_it_lost_something(lossless: bool) -> None:
    assert read("webp", picture("webp", lossless=lossless)).lossless is lossless


def test_a_bomb_says_its_size_before_anybody_decodes_it() -> None:
    found = read("png", bomb())
    assert found.width * found.height == 2_500_000_000


def test_frames_outside_of_a_gifs_screen_count() -> None:
    data = bytearray(picture("gif", size=(2, 2)))
    at = data.index(b"\x2c\x00\x00\x00\x00\x02\x00\x02\x00")
    data[at + 1 : at + 9] = b"\x00\x80\x00\x80\x02\x00\x02\x00"
    assert (read("gif", bytes(data)).width, read("gif", bytes(data)).height) == (0x8002, 0x8002)


@pytest.mark.parametrize(
    "data",
    [
        png(0, 5, zlib.compress(b"")),
        png(5, 5, zlib.compress(b""), (b"IHDR", bytes(13))),
        b"\x89PNG\r\n\x1a\n",
        picture()[:-1],
        picture()[:40],
    ],
)
def test_what_is_no_whole_picture_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        read("png", data)


@settings(max_examples=CASES, deadline=None)
@given(st.data())
def test_any_bytes_are_read_or_malformed(draw: st.DataObject) -> None:
    kind = draw.draw(st.sampled_from(KINDS))
    data = bytearray(draw.draw(st.sampled_from(SEEDS[kind])))
    for at, byte in draw.draw(
        st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), max_size=6)
    ):
        data[at] = byte
    changed = bytes(data[: draw.draw(st.integers(0, len(data)))])
    try:
        found = read(kind, changed)
    except Malformed:
        return
    assert 0 < found.end <= len(changed)
    assert min(found.width, found.height, found.frames) > 0


@given(st.sampled_from(KINDS), st.binary(max_size=200))
def test_any_start_and_noise_are_read_or_malformed(kind: str, noise: bytes) -> None:
    start = {
        "png": b"\x89PNG\r\n\x1a\n",
        "jpeg": b"\xff\xd8",
        "gif": b"GIF89a",
        "webp": b"RIFF\xff\x00\x00\x00WEBP",
    }
    with contextlib.suppress(Malformed):
        assert read(kind, start[kind] + noise).end > 0


def test_every_kind_that_a_policy_can_allow_has_a_reader_and_a_signature() -> None:
    assert set(READERS) == set(KINDS)
    assert all(kind_of(picture(kind)) == kind for kind in KINDS)
