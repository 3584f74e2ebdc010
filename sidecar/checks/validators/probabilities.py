"""Coarsens the scores of a classic model's answer: fine digits and low ranks are what extraction and membership inference
live on.

Works on the decimal digits that were written (half to even), so 0.125 becomes 0.12, and 1e-7 becomes 0.0. Which scores
are ranked together and what they are called is told by sidecar/formats/scores.py; those that don't remain become 0.0, so
that the answer keeps its shape.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal

from msgspec import UNSET

from bartizan.policy.checks import Probabilities
from sidecar.checks.base import ScoreCheck
from sidecar.formats.json_text import Path
from sidecar.formats.scores import ScorePart

# Wide enough for every finite double at six decimals: nothing overflows, nothing is rounded twice.
_CONTEXT = Context(prec=400)


class Coarse:
    """ScoreCheck that keeps a fixed number of decimals of the highest scores of listed labels."""

    name = "probabilities"

    def __init__(self, decimals: int, top: int | None = None, labels: Sequence[str] = ()) -> None:
        self._unit = Decimal(1).scaleb(-decimals)
        self._top = top
        self._labels = frozenset(labels)

    def adjust(self, scores: Sequence[ScorePart]) -> list[float]:
        dropped = self._dropped(scores) if self._top is not None or self._labels else frozenset()
        return [0.0 if at in dropped else self._rounded(score.value) for at, score in enumerate(scores)]

    def _rounded(self, value: float) -> float:
        """Never a negative zero, whose sign would tell more than its digits."""
        if isinstance(value, int):
            return value
        rounded = Decimal(repr(value)).quantize(self._unit, ROUND_HALF_EVEN, _CONTEXT)
        return float(rounded) or 0.0

    def _dropped(self, scores: Sequence[ScorePart]) -> frozenset[int]:
        """Positions of scores that don't remain. Of equal ones the first remain."""
        dropped: set[int] = set()
        ranked: dict[Path, list[int]] = defaultdict(list)
        for at, score in enumerate(scores):
            if self._labels and score.label is not None and score.label not in self._labels:
                dropped.add(at)
            else:
                ranked[score.group].append(at)
        if self._top is not None:
            for members in ranked.values():
                dropped.update(sorted(members, key=lambda at: -scores[at].value)[self._top :])
        return frozenset(dropped)


def build(config: Probabilities) -> ScoreCheck:
    return Coarse(config.decimals, None if config.top is UNSET else config.top, config.labels)
