"""Rounds the scores of a classic model's answer: fine digits are what extraction and membership inference live on.

Works on the decimal digits that were written (half to even), so 0.125 becomes 0.12, and 1e-7 becomes 0.0.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal

from bartizan.policy.checks import Probabilities
from sidecar.checks.base import ScoreCheck

# Wide enough for every finite double at six decimals: nothing overflows, nothing is rounded twice.
_CONTEXT = Context(prec=400)


class Rounding:
    """ScoreCheck that keeps a fixed number of decimals."""

    name = "probabilities"

    def __init__(self, decimals: int) -> None:
        self._unit = Decimal(1).scaleb(-decimals)

    def adjust(self, value: float) -> float:
        """The rounded value; never a negative zero, whose sign would tell more than its digits."""
        if isinstance(value, int):
            return value
        rounded = Decimal(repr(value)).quantize(self._unit, ROUND_HALF_EVEN, _CONTEXT)
        return float(rounded) or 0.0


def build(config: Probabilities) -> ScoreCheck:
    return Rounding(config.decimals)
