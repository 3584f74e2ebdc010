"""What stands across the pieces of what a stream says whole: names of tools, identifiers, fields that nobody knows.

Some clients join such pieces, others take each for itself. The pipes of stream.py judge a piece by itself and let it go;
here it is judged joined with those before it. What would be redacted across them cuts the answer, since one is out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from sidecar.checks.base import SpanCheck
from sidecar.checks.spans import TOO_MANY
from sidecar.formats.base import TextPart
from sidecar.model.finding import Action, Finding

MOST: Final = 4_096
"""Characters of what was said in one place that a check may reach back to."""
MOST_KEPT: Final = 1_048_576
"""Characters of all places of an answer, their names among them; a place more counts as a hit."""
_PLACE: Final = 128
"""So many characters a place costs beside its name and text."""


class JoinedPieces:
    """Those of one answer, for the checks that read identifiers: others find in ids and numbers what is none."""

    def __init__(self, checks: Sequence[SpanCheck]) -> None:
        self._reach = [
            (check, min(check.max_match + check.context, read, MOST))
            for check in checks
            if (read := getattr(check, "identifiers", 0))
        ]
        self._remembered = max((reach for _, reach in self._reach), default=0)
        self._said: dict[str, str] = {}
        self._left = MOST_KEPT

    def judge(self, part: TextPart) -> Iterator[Finding]:
        """Findings that begin before this piece and end in it, or that there is no more room to know them."""
        if not self._reach or not part.text:
            return
        before = self._said.get(part.joins, "")
        if not self._keep(part.joins, before, part.text):
            for check, _ in self._reach:
                yield self._finding(check, TOO_MANY, part)
        for check, reach in self._reach if before else ():
            known = before[-reach:]
            for match in check.matches(known + part.text[:reach]):
                if match.start < len(known) < match.end:
                    yield self._finding(check, match.kind, part)

    def _keep(self, place: str, before: str, text: str) -> bool:
        """Whether there is room for what this place has said by now."""
        said = (before + text)[-self._remembered :]
        cost = len(said) - len(before) + (0 if before else len(place) + _PLACE)
        if cost > self._left:
            return False
        self._left -= cost
        self._said[place] = said
        return True

    @staticmethod
    def _finding(check: SpanCheck, kind: str, part: TextPart) -> Finding:
        action = Action.CUT if check.action is Action.REDACT else check.action
        return Finding(check=check.name, kind=kind, action=action, location=part.location)
