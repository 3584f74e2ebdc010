"""What stands in the place of personal data: stars, or a keyed pseudonym. Placeholders are in the tables of forms, tokens
that are put back in sidecar/checks/tokens.py.

Pure, for detectors/pii.py.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from typing import Final

Replace = Callable[[str, str], str]
"""Kind and text of a finding -> what takes its place; "" for its type's placeholder."""

_LAST_FOUR: Final = frozenset(
    {"phone", "iban", "card", "ssn", "national_id", "passport", "driving_licence", "crypto"}
)
_KEY_SIGNS: Final = 2
_SIGNS: Final = 16
PSEUDONYM_SIGNS: Final = rf"[a-z2-7]{{{_KEY_SIGNS + _SIGNS}}}"
_PSEUDONYM_SIGNS: Final = re.compile(PSEUDONYM_SIGNS)


def masked(kind: str, found: str) -> str:
    """Stars for letters and digits. What people tell numbers by stays: the last four of eight or more; of an e-mail
    address its first letter and its domain.
    """
    if kind == "email" and "@" in found:
        name, _, domain = found.rpartition("@")
        return f"{name[0]}***@{domain}"
    signs = sum(char.isalnum() for char in found)
    kept = 4 if kind in _LAST_FOUR and signs >= 8 else 0
    out: list[str] = []
    for char in found:
        out.append("*" if char.isalnum() and signs > kept else char)
        signs -= char.isalnum()
    return "".join(out)


class Pseudonyms:
    """`[EMAIL:k7ab…]`: 18 letters and digits for one value of one kind, the same in every exchange of a tenant.

    The first two tell the key, so that pseudonyms from before and after its change are not compared. The others are 80
    bits of HMAC-SHA256 (RFC 2104) under a key of the tenant's own, made from the sidecar's.
    """

    def __init__(self, key: bytes, tenant: str) -> None:
        self._mark = _signs(hashlib.sha256(b"bartizan pseudonym key\0" + key).digest())[:_KEY_SIGNS]
        self._key = hmac.digest(key, b"bartizan pseudonym\0" + tenant.encode(), "sha256")

    def __call__(self, kind: str, found: str) -> str:
        said = f"{kind}\0{_alike(kind, found)}".encode()
        made = _signs(hmac.digest(self._key, said, "sha256"))[:_SIGNS]
        return f"[{kind.upper()}:{self._mark}{made}]"


def in_pseudonym(kind: str, text: str, start: int, end: int) -> bool:
    """Whether text[start:end], found as this kind, is the signs of a pseudonym of that kind, which announces itself: texts
    may be looked at again, also by a policy without the key. What another word in brackets announces is a find.
    """
    return (
        text[end : end + 1] == "]"
        and text.endswith(f"[{kind.upper()}:", 0, start)
        and _PSEUDONYM_SIGNS.fullmatch(text, start, end) is not None
    )


def _alike(kind: str, found: str) -> str:
    """Ways to write one value become one: case, and what stands between letters and digits."""
    lower = found.lower().replace("\uff20", "@").replace("%40", "@")
    return lower if kind == "email" else "".join(char for char in lower if char.isalnum())


def _signs(digest: bytes) -> str:
    return base64.b32encode(digest).decode().lower()
