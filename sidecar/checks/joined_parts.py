"""What stands across the parts of one message: engines join them, so a text that is cut in two parts is whole again.

Called by content.py when every part has been judged and edited by itself. Nobody could say which part an edit of the
joined text belongs to, so what would be redacted there is denied. Names are looked for in each part alone: to a model two
words without a blank between ("TuesdayDear") are a name soon.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise

from sidecar.checks.base import TextCheck
from sidecar.formats.base import TextPart
from sidecar.model.finding import Action, Finding

_EDGE = 4096
"""Characters of each end of a part that are looked at together with its neighbours: its middle was read before."""
_SANITIZER = "sanitize"
"""It has done its work on every part."""


@dataclass(slots=True)
class _Parts:
    role: str = ""
    texts: list[str] = field(default_factory=list)
    found: set[tuple[str, str, Action]] = field(default_factory=set)


class JoinedParts:
    """Those of one body."""

    def __init__(self) -> None:
        self._parts: defaultdict[tuple[str, str], _Parts] = defaultdict(_Parts)

    def add(self, part: TextPart, text: str, found: Sequence[Finding]) -> None:
        """`text`: what checks left of it."""
        if part.joins and text:
            parts = self._parts[part.joins, part.role]
            parts.texts.append(_ends(text))
            parts.found.update((finding.check, finding.kind, finding.action) for finding in found)

    def judge(self, checks: Sequence[TextCheck]) -> Iterator[Finding]:
        """Findings that no part has by itself."""
        for (location, role), parts in self._parts.items():
            for glue in _glues(parts.texts):
                text = glue.join(parts.texts)
                lengths = [len(one) for one in parts.texts[:-1]]
                borders = [end + len(glue) * number for number, end in enumerate(accumulate(lengths))]
                joined = TextPart(location=location, text=text, role=role)
                for check in checks:
                    if check.name == _SANITIZER or getattr(check, "piecewise", False):
                        continue
                    made = check.inspect(joined)
                    across = any(edit.start < border < edit.end for edit in made.edits for border in borders)
                    for finding in made.findings:
                        if finding.action is Action.REDACT:
                            if across:
                                yield replace(finding, action=Action.DENY)
                        elif (finding.check, finding.kind, finding.action) not in parts.found:
                            yield finding


def _glues(texts: Sequence[str]) -> Sequence[str]:
    """Some engines put a line feed between parts. It makes a difference where no blank stands."""
    if len(texts) < 2:
        return ()
    bare = any(not (left[-1].isspace() or right[0].isspace()) for left, right in pairwise(texts))
    return ("", "\n") if bare else ("",)


def _ends(text: str) -> str:
    return text if len(text) <= 2 * _EDGE else f"{text[:_EDGE]}\n\n{text[-_EDGE:]}"
