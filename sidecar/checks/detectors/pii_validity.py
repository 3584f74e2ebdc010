"""What tells addresses of machines and wallets, dates of birth and coordinates from other text of their form."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from typing import Final

from sidecar.checks.detectors.check_digits import date, digits, luhn

_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BECH32: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32_STEPS: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def base58(address: str) -> bool:
    """Version, hash and four bytes of a double SHA-256 over both (Bitcoin, Litecoin, Dogecoin, Tron)."""
    value = 0
    for char in address:
        value = value * 58 + _ALPHABET.index(char)
    if value.bit_length() > 200:
        return False
    data = value.to_bytes(25, "big")
    return hashlib.sha256(hashlib.sha256(data[:21]).digest()).digest()[:4] == data[21:]


def bech32(address: str) -> bool:
    """BIP 173 and BIP 350."""
    prefix, _, data = address.lower().rpartition("1")
    values = [ord(char) >> 5 for char in prefix] + [0] + [ord(char) & 31 for char in prefix]
    values += [_BECH32.index(char) for char in data]
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, step in enumerate(_BECH32_STEPS):
            check ^= step if top >> bit & 1 else 0
    return check in {1, 0x2BC830A3}


def network_address(written: str) -> bool:
    """Addresses of the public Internet: private ones, loopback and documentation name nobody."""
    try:
        address = ipaddress.ip_address(written)
    except ValueError:
        return False
    # what is given out begins with 2 or 3; anything else that is short is a line and a column ("58::34")
    whole = address.version == 4 or written.count(":") == 7 or re.match(r"[23][0-9A-Fa-f]{3}:", written)
    return bool(whole) and address.is_global


def luhn_number(written: str) -> bool:
    """A card of an issuer that we don't know: more than one digit, and Luhn's check."""
    numbers = digits(written)
    return len(set(numbers)) > 2 and luhn(numbers)


def machine_address(written: str) -> bool:
    return len(set(re.sub(r"[:\-]", "", written.lower()))) > 1


def birthday(written: str) -> bool:
    """A day of the last 130 years or so, in any usual order."""
    numbers = [int(number) for number in re.findall(r"[0-9]+", written)]
    if len(numbers) == 2:  # the month is a word
        return 1 <= min(numbers) <= 31
    if len(numbers) != 3:
        return False
    first, second, third = numbers
    if first > 31:
        return 1900 <= first <= 2035 and date(third, second)
    return (date(first, second) or date(second, first)) and (third < 100 or 1900 <= third <= 2035)


def latitude_and_longitude(written: str) -> bool:
    north, east = (float(number) for number in re.findall(r"-?[0-9]+\.[0-9]+", written)[:2])
    return abs(north) <= 90 and abs(east) <= 180


def paper(written: str) -> bool:
    """Six signs at least, five of them digits: not a year, not a word with a number behind it."""
    signs = [char for char in written if char.isalnum()]
    return len(signs) >= 6 and sum(char.isdigit() for char in signs) >= 5
