"""Whether an ASCII text holds one of some signs: of each text that is checked this is asked several times."""

from __future__ import annotations

from typing import Final

_LONG: Final = 4_000
"""Characters from which on each sign is looked for by itself: the C library compares many characters at once then, and one
pass that compares each takes four times as long. In shorter texts the calls for each sign would cost more.
"""


def holds_any(text: str, signs: bytes) -> bool:
    """`text` is ASCII."""
    if len(text) < _LONG:
        return len(text.encode().translate(None, signs)) != len(text)
    return any(map(text.__contains__, signs.decode()))
