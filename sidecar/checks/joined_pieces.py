"""What stands across the pieces of what a stream says whole: names of tools, identifiers, fields that nobody knows.

Some clients join such pieces, others take each for itself. The pipes of stream.py judge a piece by itself and let it go;
here it is judged joined with those before it. What would be redacted across them cuts the answer, since one is out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from sidecar.checks.base import SpanCheck
from sidecar.formats.base import TextPart
from sidecar.model.finding import Action, Finding

MOST: Final = 4_096
"""Characters of what was said in one place that are remembered."""
_PLACES: Final = 256


class JoinedPieces:
    """Those of one answer, for the checks that read identifiers: others find in ids and numbers what is none."""

    def __init__(self, checks: Sequence[SpanCheck]) -> None:
        self._reach = [
            (check, min(check.max_match + check.context, read, MOST))
            for check in checks
            if (read := getattr(check, "identifiers", 0))
        ]
        self._said: dict[str, str] = {}

    def judge(self, part: TextPart) -> Iterator[Finding]:
        """Findings that begin before this piece and end in it."""
        if not self._reach or not part.text:
            return
        before = self._said.get(part.joins, "")
        if len(self._said) > _PLACES:
            self._said.clear()
        self._said[part.joins] = (before + part.text)[-MOST:]
        for check, reach in self._reach if before else ():
            known = before[-reach:]
            for match in check.matches(known + part.text[:reach]):
                if match.start < len(known) < match.end:
                    action = Action.CUT if check.action is Action.REDACT else check.action
                    yield Finding(check=check.name, kind=match.kind, action=action, location=part.location)
