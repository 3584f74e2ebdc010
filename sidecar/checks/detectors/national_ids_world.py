"""Numbers that states outside of Europe give to people. Each function takes one as written and says whether it can be one.

Sources: Social Security Administration (randomisation of 2011), UIDAI, GB 11643, the OECD's sheets on tax numbers.
"""

from __future__ import annotations

from sidecar.checks.detectors.check_digits import compact, date, digits, luhn, verhoeff, weighted


def us_ssn(written: str) -> bool:
    area, group, serial = (int("".join(map(str, digits(written)[a:b]))) for a, b in ((0, 3), (3, 5), (5, 9)))
    return area not in {0, 666} and area < 900 and group > 0 and serial > 0


def luhn_digits(written: str) -> bool:
    """Israel, Canada."""
    numbers = digits(written)
    return any(numbers) and luhn(numbers)


def brazil(written: str) -> bool:
    numbers = digits(written)
    if len(set(numbers)) == 1:
        return False
    return all(
        numbers[size] == weighted(numbers[:size], range(size + 1, 1, -1)) * 10 % 11 % 10 for size in (9, 10)
    )


def chile(written: str) -> bool:
    number = compact(written)
    total = weighted(list(map(int, reversed(number[:-1]))), (2, 3, 4, 5, 6, 7, 2, 3))
    return number[-1] == "0123456789K0"[(11 - total % 11)]


def argentina(written: str) -> bool:
    numbers = digits(written)
    rest = weighted(numbers, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11
    return numbers[10] == {0: 0, 1: 9}.get(rest, 11 - rest)


def mexico(written: str) -> bool:
    number = compact(written)
    values = "0123456789ABCDEFGHIJKLMN\u00d1OPQRSTUVWXYZ"
    total = sum(values.index(char) * (18 - place) for place, char in enumerate(number[:17]))
    return date(int(number[8:10]), int(number[6:8])) and number[17] == str(-total % 10)


def india(written: str) -> bool:
    return verhoeff(digits(written))


def china(written: str) -> bool:
    number = compact(written)
    total = weighted(digits(number[:17]), [1 << place for place in range(17, 0, -1)])
    return date(int(number[12:14]), int(number[10:12])) and number[17] == "10X98765432"[total % 11]


def korea(written: str) -> bool:
    numbers = digits(written)
    total = weighted(numbers, (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5))
    return (
        date(10 * numbers[4] + numbers[5], 10 * numbers[2] + numbers[3])
        and (11 - total % 11) % 10 == numbers[12]
    )


def singapore(written: str) -> bool:
    number = compact(written)
    total = weighted(digits(number), (2, 7, 6, 5, 4, 3, 2)) + {"T": 4, "G": 4, "M": 3}.get(number[0], 0)
    letters = {
        "S": "JZIHGFEDCBA",
        "T": "JZIHGFEDCBA",
        "F": "XWUTRQPNMLK",
        "G": "XWUTRQPNMLK",
        "M": "KLJNPQRTUWX",
    }
    place = total % 11 if number[0] != "M" else 10 - total % 11
    return number[-1] == letters[number[0]][place]


def turkey(written: str) -> bool:
    numbers = digits(written)
    tenth = (7 * sum(numbers[0:9:2]) - sum(numbers[1:8:2])) % 10
    return numbers[0] > 0 and numbers[9] == tenth and numbers[10] == sum(numbers[:10]) % 10


def south_africa(written: str) -> bool:
    numbers = digits(written)
    return (
        date(10 * numbers[4] + numbers[5], 10 * numbers[2] + numbers[3]) and numbers[10] < 2 and luhn(numbers)
    )


def australia(written: str) -> bool:
    return weighted(digits(written), (1, 4, 3, 7, 5, 8, 6, 9, 10)) % 11 == 0


def japan(written: str) -> bool:
    numbers = digits(written)
    rest = weighted(numbers, (6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11
    return numbers[11] == (0 if rest < 2 else 11 - rest)


def taiwan(written: str) -> bool:
    number = compact(written)
    value = "ABCDEFGHJKLMNPQRSTUVXYWZIO".index(number[0]) + 10
    return (value // 10 + 9 * (value % 10) + weighted(digits(number), (8, 7, 6, 5, 4, 3, 2, 1, 1))) % 10 == 0
