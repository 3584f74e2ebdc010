"""JSON nested deeper than any decoder here goes, cut to what it takes. Pure.

An API server takes objects nested 10,000 deep from whoever may write one in a namespace; msgspec stops where Python does.
One such object would make a list of all of them unreadable, and so keep the policies of every namespace waiting. Slow, and
so for Pythons only whose limit can't be raised.
"""

from __future__ import annotations

import re

DEEPEST = 100
"""More than a policy may have, so that the language refuses what was cut, at its object."""

_TOKENS = re.compile(rb'["\[\]{}]|\\.', re.DOTALL)
"""What ends a string or stands in none. Escapes, which stand in strings alone, take their quote along."""


def cut(raw: bytes, deepest: int = DEEPEST) -> bytes:
    """The same JSON with null for each list and mapping that is deeper."""
    kept: list[bytes] = []
    depth = after = 0
    in_string = False
    for token in _TOKENS.finditer(raw):
        match token[0]:
            case b'"':
                in_string = not in_string
            case _ if in_string:
                pass
            case b"{" | b"[":
                depth += 1
                if depth == deepest + 1:
                    kept += raw[after : token.start()], b"null"
            case b"}" | b"]":
                if depth == deepest + 1:
                    after = token.end()
                depth -= 1
            case _:
                pass
    return b"".join([*kept, raw[after:]])
