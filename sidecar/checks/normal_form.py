"""Unicode normal forms of hostile text: a run of combining marks is cut to 30 before it is put in order.

Putting n marks in order takes n² steps, and Python does it without letting any other thread run. No language stacks so
many: Unicode's stream-safe format (https://www.unicode.org/reports/tr15/#Stream_Safe_Text_Format) breaks such runs, too.
"""

from __future__ import annotations

import re
import unicodedata
from functools import partial
from typing import Literal

import re2

from sidecar.checks.pieces import rewritten

MAX_MARKS = 30
_LAST_MARK = 0x1EFFF


def _is_mark(char: str) -> bool:
    """Whether it is put in order among its neighbours, or is made of such ones."""
    if not unicodedata.decomposition(char):
        return unicodedata.combining(char) > 0
    return unicodedata.combining(unicodedata.normalize("NFKD", char)[0]) > 0


_MARKS = "".join(char for char in map(chr, range(0x300, _LAST_MARK + 1)) if _is_mark(char))
_LONG_RUN_SIGN = re2.compile(f"[{_MARKS}]{{{MAX_MARKS + 1}}}")
"""Says in one fast pass that there is nothing to cut, as in almost every text."""
_LONG_RUN = re.compile(f"(?=[\u0300-{chr(_LAST_MARK)}])([{_MARKS}]{{{MAX_MARKS}}})[{_MARKS}]+")
"""The look ahead passes over what is no mark at sight: to ask the whole class takes twenty times as long."""


def normal_form(form: Literal["NFC", "NFD", "NFKC"], text: str) -> str:
    """The text in this form, in time linear in its length; of a longer run of marks the first 30 stay."""
    if _LONG_RUN_SIGN.search(text):
        text = _LONG_RUN.sub(r"\1", text)
    # an ASCII character is never put together with one before it
    return rewritten(text, partial(unicodedata.normalize, form))
