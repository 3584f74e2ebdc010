"""Sizes and rates: what authors may write and what it means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bartizan.errors import InvalidInput
from bartizan.policy.quantities import parse_bytes, parse_rate, rate_number


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1", 1), ("512B", 512), ("1KiB", 1024), ("64KiB", 65536), ("1MiB", 1_048_576), ("64MiB", 67_108_864)],
)
def test_a_size_is_a_number_of_bytes(text: str, expected: int) -> None:
    assert parse_bytes(text) == expected


@pytest.mark.parametrize(
    ("text", "per_second", "number"),
    [("50/s", 50.0, 50), ("120/m", 2.0, 120), ("1/m", 1 / 60, 1), ("3600/h", 1.0, 3600)],
)
def test_a_rate_is_a_number_per_second(text: str, per_second: float, number: int) -> None:
    assert parse_rate(text) == per_second
    assert rate_number(text) == number


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "1.5MiB", "1 MiB", "1MB", "1GiB", "MiB", "1MiB\n", "\u0661MiB"]
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="not a size"):
        parse_bytes(text)


@pytest.mark.parametrize("text", ["", "0/s", "50", "50/d", "50/ s", "-1/s", "1.5/s", "50/s\n", "\u0665/s"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="not a rate"):
        parse_rate(text)


@given(st.text(max_size=12))
def test_any_text_is_a_size_or_refused(text: str) -> None:
    try:
        assert parse_bytes(text) > 0
    except InvalidInput:
        return
