"""Numbers that European states give to people. Each function takes one as written and says whether it can be one.

Sources: ISO 7064, the pages of the issuing offices, the OECD's sheets on tax numbers.
"""

from __future__ import annotations

from typing import Final

from sidecar.checks.detectors.check_digits import compact, date, digits, luhn, weighted

_ODD: Final = {
    **dict(
        zip("0123456789", (1, 0, 5, 7, 9, 13, 15, 17, 19, 21), strict=True),
    ),
    **dict(
        zip(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
            (
                *(1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18),
                *(20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23),
            ),
            strict=True,
        )
    ),
}


def spain(written: str) -> bool:
    number = compact(written)
    body = str("XYZ".index(number[0])) + number[1:-1] if number[0] in "XYZ" else number[:-1]
    return number[-1] == "TRWAGMYFPDXBNJZSQVHLCKE"[int(body) % 23]


def italy(written: str) -> bool:
    number = compact(written)
    total = sum(
        _ODD[char] if place % 2 == 0 else (int(char) if char.isdigit() else ord(char) - 65)
        for place, char in enumerate(number[:15])
    )
    return number[15] == chr(65 + total % 26)


def france(written: str) -> bool:
    number = compact(written).replace("2A", "19").replace("2B", "18")
    return number.isdigit() and 97 - int(number[:13]) % 97 == int(number[13:])


def iso_11_10(written: str) -> bool:
    """ISO 7064 mod 11, 10 of Germany's tax number, in whose first ten digits one stands twice or three times."""
    numbers = digits(written)
    counts = sorted(numbers[:10].count(number) for number in set(numbers[:10]))
    product = 10
    for number in numbers[:10]:
        product = 2 * ((number + product) % 10 or 10) % 11
    return (
        numbers[0] != 0
        and counts[-1] in {2, 3}
        and counts[:-1].count(1) == len(counts) - 1
        and ((11 - product) % 10 == numbers[10])
    )


def netherlands(written: str) -> bool:
    numbers = digits(written)
    return any(numbers) and (weighted(numbers, range(9, 1, -1)) - numbers[8]) % 11 == 0


def belgium(written: str) -> bool:
    number = "".join(map(str, digits(written)))
    fits = {97 - int(lead + number[:9]) % 97 for lead in ("", "2")}
    return int(number[2:4]) <= 12 and int(number[4:6]) <= 31 and int(number[9:]) in fits


def poland(written: str) -> bool:
    numbers = digits(written)
    day, month = 10 * numbers[4] + numbers[5], (10 * numbers[2] + numbers[3]) % 20
    return date(day, month) and weighted(numbers, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)) % 10 == 0


def nhs(written: str) -> bool:
    numbers = digits(written)
    return any(numbers) and weighted(numbers, range(10, 0, -1)) % 11 == 0


def nino(written: str) -> bool:
    prefix = compact(written)[:2]
    return (
        not set(prefix) & set("DFIQUV")
        and prefix[1] != "O"
        and prefix
        not in {
            "BG",
            "GB",
            "KN",
            "NK",
            "NT",
            "TN",
            "ZZ",
        }
    )


def sweden(written: str) -> bool:
    numbers = digits(written)[-10:]
    day = (10 * numbers[4] + numbers[5] - 1) % 60 + 1
    return date(day, 10 * numbers[2] + numbers[3]) and luhn(numbers)


def finland(written: str) -> bool:
    number = compact(written)
    body = int(number[:6] + number[-4:-1])
    return (
        date(int(number[:2]), int(number[2:4])) and number[-1] == "0123456789ABCDEFHJKLMNPRSTUVWXY"[body % 31]
    )


def day_first(written: str) -> bool:
    """Denmark, Austria without its check: only the date can be judged."""
    numbers = digits(written)
    return date(10 * numbers[0] + numbers[1], 10 * numbers[2] + numbers[3])


def norway(written: str) -> bool:
    numbers = digits(written)
    day = (10 * numbers[0] + numbers[1] - 1) % 40 + 1
    return (
        date(day, (10 * numbers[2] + numbers[3] - 1) % 40 + 1)
        and weighted(numbers, (3, 7, 6, 1, 8, 9, 4, 5, 2, 1)) % 11 == 0
        and weighted(numbers, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1)) % 11 == 0
    )


def switzerland(written: str) -> bool:
    return weighted(digits(written), (1, 3) * 7) % 10 == 0


def austria(written: str) -> bool:
    numbers = digits(written)
    check = weighted(numbers, (3, 7, 9, 0, 5, 8, 4, 2, 1, 6)) % 11
    return (
        numbers[0] > 0
        and numbers[3] == check
        and date(10 * numbers[4] + numbers[5], 10 * numbers[6] + numbers[7])
    )


def portugal(written: str) -> bool:
    numbers = digits(written)
    rest = weighted(numbers, range(9, 1, -1)) % 11
    return numbers[8] == (0 if rest < 2 else 11 - rest)


def czechia(written: str) -> bool:
    numbers = digits(written)
    month = (10 * numbers[2] + numbers[3]) % 50
    whole = int("".join(map(str, numbers)))
    return date(10 * numbers[4] + numbers[5], month % 20 if month > 20 else month) and (
        whole % 11 == 0 or (whole // 10 % 11 == 10 and numbers[9] == 0)
    )


def romania(written: str) -> bool:
    numbers = digits(written)
    check = weighted(numbers, (2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9)) % 11
    return date(10 * numbers[5] + numbers[6], 10 * numbers[3] + numbers[4]) and numbers[12] == (
        1 if check == 10 else check
    )


def bulgaria(written: str) -> bool:
    numbers = digits(written)
    month = (10 * numbers[2] + numbers[3]) % 20
    return (
        date(10 * numbers[4] + numbers[5], month)
        and numbers[9] == weighted(numbers, (2, 4, 8, 5, 10, 9, 7, 3, 6)) % 11 % 10
    )


def baltic(written: str) -> bool:
    """Estonia and Lithuania."""
    numbers = digits(written)
    check = weighted(numbers, (1, 2, 3, 4, 5, 6, 7, 8, 9, 1)) % 11
    if check == 10:
        check = weighted(numbers, (3, 4, 5, 6, 7, 8, 9, 1, 2, 3)) % 11 % 10
    return date(10 * numbers[5] + numbers[6], 10 * numbers[3] + numbers[4]) and numbers[10] == check


def greece(written: str) -> bool:
    numbers = digits(written)
    return day_first(written) and luhn(numbers)


def ireland(written: str) -> bool:
    number = compact(written)
    extra = ord(number[8]) - 64 if len(number) == 9 and number[8] != "W" else 0
    return (
        number[7] == "WABCDEFGHIJKLMNOPQRSTUV"[(weighted(digits(number), range(8, 1, -1)) + 9 * extra) % 23]
    )
