"""Texts that stand in a body as base64, such as resources of MCP that are called binary and are none.

Checks see the text, and an edited one is written again in its character set.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from typing import Final

import msgspec

MOST: Final = 8 * 1024 * 1024
"""Characters of base64; what is longer stays what it is."""
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
_URL_SAFE: Final = str.maketrans("-_", "+/")
_WIDE: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_PRINTABLE: Final = bytes({*range(0x20, 0x7F), *b"\t\n\r"})
_BYTES_FOR_ONE: Final = 10
"""A text of an older character set has one letter beyond ASCII in so many bytes at most; anything else is binary."""


class CodedText(msgspec.Struct, frozen=True, gc=False):
    """How one is written. `text` is what it says."""

    text: str
    charset: str = "utf-8"

    whole = True
    plain = True
    """Read as it is: no JSON."""

    def write(self, text: str) -> str:
        """Put this text in place of its own."""
        return base64.b64encode(text.encode(self.charset, "replace")).decode()


def coded_text(written: str) -> CodedText | None:
    """The text that a string of base64 stands for; None where it is none."""
    coded = "".join(written.split())
    if len(coded) > MOST or _BASE64.fullmatch(coded) is None:
        return None
    coded = coded.rstrip("=").translate(_URL_SAFE)
    try:
        data = base64.b64decode(coded + "=" * (-len(coded) % 4))
    except binascii.Error:
        return None
    for charset in ("utf-16",) if data.startswith(_WIDE) else ("utf-8", "latin-1"):
        if charset == "latin-1" and len(data.translate(None, _PRINTABLE)) * _BYTES_FOR_ONE > len(data):
            return None
        try:
            return CodedText(data.decode(charset), charset)
        except UnicodeDecodeError:
            continue
    return None
