"""Personal data of one request that the model sees as `<EMAIL_1>`, and the way back in its answer.

The mapping is one exchange's own: made by sidecar/checks/detectors/pii.py from the request, read by
sidecar/checks/restore.py in the answer, gone with the exchange. It is bounded and shows itself to nobody.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

MOST: Final = 1_000
"""Different values of one request; what comes later gets its type's placeholder and stays so."""
LONGEST: Final = len("<DRIVING_LICENCE_1000>")
TOKEN: Final = re.compile(r"<[A-Z]{2,}(?:_[A-Z]{2,})?_[1-9][0-9]{0,3}>")
OPEN: Final = re.compile(r"<[A-Z_]{0,20}[0-9]{0,4}\Z")
"""What a text ends with that may become a token."""


class Tokens:
    """Those of one exchange. The same value of the same kind has one token."""

    def __init__(self) -> None:
        self._tokens: dict[tuple[str, str], str] = {}
        self._said: dict[str, str] = {}
        self._numbers: Counter[str] = Counter()

    def __bool__(self) -> bool:
        return bool(self._said)

    def __repr__(self) -> str:
        return f"Tokens({len(self._said)})"

    def token(self, kind: str, said: str) -> str:
        """What the model sees in place of `said`; "" when there are too many."""
        known = self._tokens.get((kind, said))
        if known is not None or len(self._said) >= MOST:
            return known or ""
        self._numbers[kind] += 1
        made = f"<{kind.upper()}_{self._numbers[kind]}>"
        self._tokens[kind, said] = made
        self._said[made] = said
        return made

    def said(self, token: str) -> str | None:
        """What the client wrote; None for what is no token of this exchange."""
        return self._said.get(token)
