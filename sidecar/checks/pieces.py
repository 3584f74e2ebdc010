"""A long text rewritten piece by piece: what costs much is done only where a text is not ASCII.

Python's methods take one way for the whole text: one emoji in 200 KB of English, and a hundred times as much is done for
every letter of it. Used by normal_form.py, typography.py and views.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_PIECE = re.compile(r".{1,256}[^\x00-\x7f]*", re.DOTALL)
"""Shorter ones cost calls, of longer ones fewer are ASCII."""


def rewritten(text: str, rewrite: Callable[[str], str]) -> str:
    """The text, its pieces rewritten that are not ASCII. Each but the first begins with an ASCII character, so `rewrite` may
    look back as far as one, and leaves ASCII as it is.
    """
    if text.isascii():
        return text
    return "".join([piece if piece.isascii() else rewrite(piece) for piece in _PIECE.findall(text)])
