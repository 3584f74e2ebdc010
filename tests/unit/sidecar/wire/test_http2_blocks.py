"""Header blocks are read as the peer's encoder meant them, known ones too, and judged by RFC 9113 §8."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.http2_blocks import Blocks
from sidecar.wire.http2_frames import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, ConnectionBroken, block

NEEDED = ((b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a.S/M"))
FIELDS = st.tuples(
    st.sampled_from([b"te", b"x-one", b"x-two", b"user-agent"]),
    st.sampled_from([b"trailers", b"a", b"b", b"c" * 300]),
).filter(lambda field: field[0] != b"te" or field[1] == b"trailers")
CASES = st.lists(
    st.tuples(st.lists(FIELDS, max_size=4), st.sampled_from([None, 0, 64, 4096])), min_size=1, max_size=20
)


@given(CASES)
def test_every_block_is_what_its_encoder_meant_whatever_was_known(
    cases: list[tuple[list[tuple[bytes, bytes]], int | None]],
) -> None:
    """A block of the same bytes may mean something else when the table of header compression has changed."""
    encoder, blocks = hpack.Encoder(), Blocks(65_536, 128)
    for fields, table_size in cases:
        if table_size is not None:
            encoder.header_table_size = table_size
        headers = (*NEEDED, *fields)
        raw = encoder.encode(headers, huffman=bool(len(fields) % 2))
        known = blocks.plain.get(raw)
        assert known in (None, headers)
        assert blocks.request(raw).headers == headers


def test_the_same_bytes_are_decoded_once_while_the_table_stays() -> None:
    blocks, raw = Blocks(65_536, 128), block(NEEDED)
    assert blocks.request(raw) is blocks.request(raw)
    assert blocks.plain[raw] == NEEDED
    blocks.request(block(NEEDED).replace(b"\0\x07:scheme", b"\x40\x07:scheme"))  # goes into the table
    assert not blocks.plain


def test_the_table_may_be_emptied_and_filled_again_at_the_start_of_a_block() -> None:
    blocks = Blocks(65_536, 128)
    assert blocks.request(b"\x20\x3f\xe1\x1f" + block(NEEDED)).headers == NEEDED


def test_blocks_that_are_long_or_many_are_not_remembered() -> None:
    blocks = Blocks(65_536, 128)
    blocks.request(block((*NEEDED, (b"x", b"y" * 2000))))
    assert not blocks.plain
    for number in range(100):
        blocks.request(block((*NEEDED, (b"x", b"%d" % number))))
        assert len(blocks.plain) <= 8


@pytest.mark.parametrize(
    "fields",
    [
        (),
        NEEDED[:2],
        NEEDED[1:],
        (*NEEDED, NEEDED[2]),
        (*NEEDED, (b"x", b"y"), (b":authority", b"z")),
        (*NEEDED, (b":status", b"200")),
        (*NEEDED[:2], (b":path", b"")),
        (*NEEDED, (b"X-Upper", b"y")),
        (*NEEDED, (b"", b"y")),
        *((*NEEDED, (b"x" + bytes((unfit,)), b"y")) for unfit in b"\0 :\x1f\x7f\x80\xff"),
        (*NEEDED, (b"x", b" y")),
        (*NEEDED, (b"x", b"y\t")),
        (*NEEDED[:2], (b":path", b"/a ")),
        (*NEEDED, (b"upgrade", b"h2c")),
        (*NEEDED, (b"te", b"gzip")),
        (*NEEDED, (b"x", b"a\nb")),
        (*NEEDED, (b"x", b"a\0b")),
        (*NEEDED, (b"content-length", b"-1")),
        (*NEEDED, (b"content-length", b"1"), (b"content-length", b"1")),
    ],
)
def test_a_malformed_block_has_no_headers_and_is_never_plain(fields: tuple[tuple[bytes, bytes], ...]) -> None:
    blocks, raw = Blocks(65_536, 128), block(fields)
    for _ in range(2):
        assert not blocks.request(raw).headers
    assert not blocks.plain


def test_a_length_is_told_and_such_a_block_is_not_plain() -> None:
    blocks, raw = Blocks(65_536, 128), block((*NEEDED, (b"content-length", b"17")))
    assert blocks.request(raw).length == 17
    assert not blocks.plain


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"\xff" * 7, COMPRESSION_ERROR),
        (b"\xfe", COMPRESSION_ERROR),
        (b"\x40\x05ab", COMPRESSION_ERROR),
        (b"\x00", COMPRESSION_ERROR),
        (b"\x82\x3f\x00", COMPRESSION_ERROR),
        (b"\x20\x3f\xe1\x1f\x20" + block(NEEDED), ENHANCE_YOUR_CALM),
        (b"\x3f\x00" * 30_000, ENHANCE_YOUR_CALM),
        (block((*NEEDED, *((b"x", b"") for _ in range(200)))), ENHANCE_YOUR_CALM),
        (b"".join(b"\0\x01a\x7f\x81\x01" + b"b" * 256 for _ in range(300)), ENHANCE_YOUR_CALM),
    ],
)
def test_a_block_that_loses_the_table_ends_the_connection(raw: bytes, code: int) -> None:
    blocks = Blocks(65_536, 128)
    with pytest.raises(ConnectionBroken) as raised:
        blocks.request(raw)
    assert raised.value.code == code


@given(st.binary(max_size=200))
def test_any_bytes_are_a_block_or_end_the_connection(raw: bytes) -> None:
    blocks = Blocks(65_536, 128)
    for _ in range(2):
        try:
            blocks.request(raw)
        except ConnectionBroken:
            break
