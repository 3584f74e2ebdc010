"""What a form of secrets is: a row of secret_rules.py and its siblings, read by detectors/secrets.py."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SecretRule:
    """One format."""

    kind: str
    hint: str
    pattern: re.Pattern[str]
    leads: bool = False
    """Whether matches begin with the hint, so that only its occurrences need a look."""
    opening: re.Pattern[str] = re.compile(r"(?<![A-Za-z0-9])[A-Za-z0-9]")
    """Where else they may begin."""
    touching: bool = True
    """Whether nothing but letters, digits, dots and plus signs stands between a match's begin and the hint."""
    cost: int = 1
    """How long a look may take, compared with others."""
    valid: Callable[[str], bool] | None = None
    """Only for values that a stream holds back whole: what is true of a beginning must be true of the rest."""
    score: float = 1.0


def rule(
    kind: str,
    hint: str,
    body: str,
    *,
    after: str = r"(?![A-Za-z0-9])",
    cost: int = 1,
    touching: bool = True,
) -> SecretRule:
    """A form that stands alone between other signs than letters and digits."""
    leads = body.replace("\\", "").startswith(hint)
    pattern = re.compile(rf"(?<![A-Za-z0-9]){body}{after}")
    return SecretRule(kind, hint, pattern, leads, touching=touching, cost=cost)
