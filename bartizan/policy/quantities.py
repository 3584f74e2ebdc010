"""Sizes, rates and spans as authors write them ("1MiB", "50/s", "1h") turned into numbers. Pure; used by validation and compile."""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta

from bartizan.errors import InvalidInput, Problem

Quantity = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,11}(KiB|MiB|B)?$")]

_BYTES = re.compile(r"([1-9][0-9]{0,11})(KiB|MiB|B)?", re.ASCII)
_RATE = re.compile(r"([1-9][0-9]{0,6})/([smh])", re.ASCII)
_SPAN = re.compile(r"([1-9][0-9]{0,4})([smh])", re.ASCII)
_UNITS = {None: 1, "B": 1, "KiB": 1024, "MiB": 1024 * 1024}
_SECONDS = {"s": 1, "m": 60, "h": 3600}


def parse_bytes(text: str) -> int:
    """Bytes in a size such as "1MiB", "64KiB", "512B" or "512". Raises InvalidInput."""
    match = _BYTES.fullmatch(text)
    if match is None:
        raise _invalid("size", "a whole number with KiB, MiB or B, such as 1MiB")
    return int(match[1]) * _UNITS[match[2]]


def parse_rate(text: str) -> float:
    """Events per second in a rate such as "50/s", "100/m" or "5000/h". Raises InvalidInput."""
    number, seconds = _rate(text)
    return number / seconds


def rate_number(text: str) -> int:
    """The number of a rate as written (100 of "100/m"): the size of its bucket where no burst is given."""
    return _rate(text)[0]


def parse_span(text: str) -> float:
    """Seconds in a span of time such as "90s", "10m" or "1h". Raises InvalidInput."""
    match = _SPAN.fullmatch(text)
    if match is None:
        raise _invalid("span", "a whole number with s, m or h, such as 10m")
    return float(int(match[1]) * _SECONDS[match[2]])


def _rate(text: str) -> tuple[int, int]:
    match = _RATE.fullmatch(text)
    if match is None:
        raise _invalid("rate", "a whole number per s, m or h, such as 50/s")
    return int(match[1]), _SECONDS[match[2]]


def _invalid(kind: str, allowed: str) -> InvalidInput:
    message = f"not a {kind}: expected {allowed}"
    return InvalidInput(message, [Problem(path="", code="invalid_value", message=message)])
