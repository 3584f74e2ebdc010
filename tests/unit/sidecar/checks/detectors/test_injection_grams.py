"""The n-grams of the injection model: how much of a text is read, in which blocks, and that stretches change none."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.checks.detectors.injection_model import concepts, features, hashing, model, words


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


def blocks(text: str, block: int) -> list[list[list[int]]]:
    """The n-grams of each block, kind by kind."""
    return [
        [found.buckets(kind, number).tolist() for kind in range(len(features.BITS))]
        for found in features.grams(text, block)
        for number in range(found.blocks)
    ]


@given(st.text(st.characters(exclude_categories=[]), max_size=50), st.integers(1, 60))
def test_every_gram_is_in_a_block_once(text: str, block: int) -> None:
    found = blocks(text, block)
    assert len(found) == -(-(len(text) + 2) // block)
    for kinds in found:
        for buckets, bits in zip(kinds, features.BITS, strict=True):
            assert buckets == sorted(set(buckets))
            assert all(bucket >> bits == 0 for bucket in buckets)


_WORDS = st.sampled_from(
    ["ignore", "previous", "instructions", "your", "it's", "é", "\u2019", "ab", ".", " ", "  ", "-"]
)


@given(st.lists(_WORDS, max_size=40).map("".join), st.integers(1, 9), st.integers(1, 30), st.integers(4, 30))
def test_in_what_stretches_a_text_is_read_changes_no_gram(
    text: str, block: int, stretch: int, piece: int
) -> None:
    whole = blocks(text, block)
    with mock.patch.object(features, "_STRETCH", stretch), mock.patch.object(words, "_PIECE", piece):
        assert blocks(text, block) == whole


@given(st.lists(_WORDS, max_size=40).map("".join), st.integers(1, 30))
def test_the_grams_are_those_of_a_reading_sign_by_sign(text: str, block: int) -> None:
    assert blocks(text, block) == spelled_out(text, block)


def spelled_out(text: str, block: int) -> list[list[list[int]]]:
    """The same as `blocks`, by the definition: slowly, and without numpy."""
    text = f" {text} "
    found: list[list[set[int]]] = [[set(), set(), set()] for _ in range(0, len(text), block)]

    def add(kind: int, place: int, *parts: int) -> None:
        found[place // block][kind].add(bucket(kind, parts))

    tokens = list(re.finditer(r"\w+(?:['\u2019]\w+)*|[^\w ]", text))
    hashes = [hashing.word_hash(token.group()) for token in tokens]
    for number, token in enumerate(tokens):
        for size in range(1, min(3, len(tokens) - number) + 1):
            add(0, token.start(), *hashes[number : number + size])
    for place, size in itertools.product(range(len(text)), (3, 4, 5)):
        gram = text[place : place + size]
        if len(gram) == size and " " not in gram[1:-1]:
            add(1, place, *map(ord, gram))
    classes = [concepts.concept(token.group()) for token in tokens]
    known = [number for number, what in enumerate(classes) if what]
    for at, number in enumerate(known):
        add(2, tokens[number].start(), classes[number])
        near = [other for other in known[at + 1 : at + 4] if other - number <= 8]
        for size in (1, 2):
            for others in itertools.combinations(near, size):
                add(2, tokens[number].start(), *(classes[each] for each in (number, *others)))
    return [[sorted(kind) for kind in kinds] for kinds in found]


def bucket(kind: int, parts: Sequence[int]) -> int:
    total = 0
    for part in parts:
        total = total * int(hashing.BASE) + part
    total = total + len(parts) & (1 << 64) - 1
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        total = (total ^ total >> 33) * factor & (1 << 64) - 1
    return total >> 64 - features.BITS[kind]
