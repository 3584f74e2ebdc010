"""Coarsens the scores of a classic model's answer: fine digits and low ranks are what extraction and membership inference
live on.

Works on the decimal digits that were written (half to even), so 0.125 becomes 0.12, and 1e-7 becomes 0.0. Scores of one
list or mapping are ranked together; those that don't remain become 0.0, so that the answer keeps its shape.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal

from msgspec import UNSET

from bartizan.policy.checks import Probabilities
from sidecar.checks.base import ScoreCheck

# Wide enough for every finite double at six decimals: nothing overflows, nothing is rounded twice.
_CONTEXT = Context(prec=400)
_LAST_STEP = re.compile(
    r"(?:(?:^|\.)(?P<key>[A-Za-z_$][\w$-]*)|\[(?:[0-9]+|(?P<quoted>\"(?:[^\"\\]|\\.)*\"))\])\Z",
    re.ASCII | re.DOTALL,
)


class Coarse:
    """ScoreCheck that keeps a fixed number of decimals of the highest scores of listed labels."""

    name = "probabilities"

    def __init__(self, decimals: int, top: int | None = None, labels: Sequence[str] = ()) -> None:
        self._unit = Decimal(1).scaleb(-decimals)
        self._top = top
        self._labels = frozenset(labels)

    def adjust(self, scores: Sequence[tuple[str, float]]) -> list[float]:
        dropped = self._dropped(scores) if self._top is not None or self._labels else frozenset()
        return [0.0 if at in dropped else self._rounded(value) for at, (_, value) in enumerate(scores)]

    def _rounded(self, value: float) -> float:
        """Never a negative zero, whose sign would tell more than its digits."""
        if isinstance(value, int):
            return value
        rounded = Decimal(repr(value)).quantize(self._unit, ROUND_HALF_EVEN, _CONTEXT)
        return float(rounded) or 0.0

    def _dropped(self, scores: Sequence[tuple[str, float]]) -> frozenset[int]:
        """Positions of scores that don't remain. Of equal ones the first remain."""
        dropped: set[int] = set()
        ranked: dict[str, list[int]] = defaultdict(list)
        for at, (location, _) in enumerate(scores):
            group, label = _parted(location)
            if self._labels and label is not None and label not in self._labels:
                dropped.add(at)
            else:
                ranked[group].append(at)
        if self._top is not None:
            for members in ranked.values():
                dropped.update(sorted(members, key=lambda at: -scores[at][1])[self._top :])
        return frozenset(dropped)


def build(config: Probabilities) -> ScoreCheck:
    return Coarse(config.decimals, None if config.top is UNSET else config.top, config.labels)


def _parted(location: str) -> tuple[str, str | None]:
    """What holds the score, and its label there; None in a list."""
    step = _LAST_STEP.search(location)
    if step is None:
        return location, None
    quoted = step["quoted"]
    return location[: step.start()], json.loads(quoted) if quoted is not None else step["key"]
