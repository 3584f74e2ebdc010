"""Check digits and dates in numbers: the arithmetic that national_ids_europe.py and national_ids_world.py share."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable, Sequence
from typing import Final

_SKIPPED: Final = re.compile(r"[^0-9A-Za-z]")
_D5: Final = ("0123456789", "1234067895", "2340178956", "3401289567", "4012395678")
_TABLE: Final = tuple(
    tuple(map(int, row))
    for row in (*_D5, "5987604321", "6598710432", "7659821043", "8765932104", "9876543210")
)


def digits(written: str) -> list[int]:
    """The digits of a number, whatever stands between them."""
    return [int(char) for char in written if "0" <= char <= "9"]


def compact(written: str) -> str:
    """Letters and digits in upper case."""
    return _SKIPPED.sub("", written).upper()


def weighted(numbers: Sequence[int], weights: Iterable[int]) -> int:
    return sum(number * weight for number, weight in zip(numbers, weights, strict=False))


def luhn(numbers: Sequence[int]) -> bool:
    return sum(numbers[::-2]) % 10 == -sum(sum(divmod(2 * number, 10)) for number in numbers[-2::-2]) % 10


def date(day: int, month: int, year: int = 2000) -> bool:
    """Whether there is such a day; 29 February needs a leap year only where the year is known (not 2000)."""
    return 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]


def verhoeff(numbers: Sequence[int]) -> bool:
    """Verhoeff's scheme over the dihedral group of order ten."""
    order = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]
    permutations = [list(range(10))]
    for _ in range(7):
        permutations.append([order[place] for place in permutations[-1]])
    check = 0
    for place, number in enumerate(reversed(numbers)):
        check = _TABLE[check][permutations[place % 8][number]]
    return check == 0
