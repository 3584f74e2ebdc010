"""The n-grams of the injection model: how much of a text is read, in which blocks, and that stretches change none."""

from __future__ import annotations

from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.checks.detectors.injection_model import features, model, words


@pytest.mark.parametrize("size", [0, 1, 100, model.WINDOW, model.WINDOW + 1, 10_000, 220_000, 3_000_000])
def test_the_work_is_bounded_by_the_text_and_by_the_cap(size: int) -> None:
    read = model._sample("word " * (size // 5))
    assert len(read) <= min(size, model.MAX_CHARS)
    found = list(features.grams(read, model.WINDOW // 2))
    assert sum(each.blocks for each in found) <= len(read) // (model.WINDOW // 2) + 1
    assert sum(len(each.keys) for each in found) <= 14 * (len(read) + 2)


def test_of_a_text_beyond_the_cap_the_beginning_and_the_end_are_read() -> None:
    read = model._sample("a" * 2_000 + "b" * 1_000_000 + "c" * 2_000)
    assert read[:2_000] == "a" * 2_000
    assert read[-2_000:] == "c" * 2_000


@given(st.text(st.characters(exclude_categories=[]), max_size=50), st.integers(1, 60))
def test_every_gram_lies_in_a_block(text: str, block: int) -> None:
    for found in features.grams(text, block):
        for keys, bits in zip(found.kinds, features.BITS, strict=True):
            assert len(set(keys.tolist())) == len(keys)
            assert all(key >> bits < found.blocks for key in keys.tolist())


def blocks(text: str, block: int) -> list[list[int]]:
    """The n-grams of each block, without its number."""
    size = features.WIDTH + features.KIND_BITS
    return [
        [int(key) & ((1 << size) - 1) for key in found.keys if key >> size == number]
        for found in features.grams(text, block)
        for number in range(found.blocks)
    ]


_WORDS = st.sampled_from(
    ["ignore", "previous", "instructions", "your", "it's", "é", "\u2019", "ab", ".", " ", "  ", "-"]
)


@given(st.lists(_WORDS, max_size=40).map("".join), st.integers(1, 9), st.integers(1, 30), st.integers(1, 30))
def test_in_what_stretches_a_text_is_read_changes_no_gram(
    text: str, block: int, stretch: int, piece: int
) -> None:
    whole = blocks(text, block)
    with mock.patch.object(features, "_STRETCH", stretch), mock.patch.object(words, "_PIECE", piece):
        assert blocks(text, block) == whole
