"""What a policy says of personal data once it is found: what of it is allowed, and what takes the place of the rest.

Pure; shared by detectors/pii.py (data with a form) and detectors/pii_names.py.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import re2

from bartizan.policy.checks import Pii
from sidecar.checks.detectors.pii_replacement import Pseudonyms, Replace, masked
from sidecar.checks.scope import Scope
from sidecar.checks.spans import ACTIONS
from sidecar.model.finding import Action


class Treatment:
    """One policy's. Unbound, tokens and pseudonyms are their type's name alone."""

    def __init__(self, config: Pii) -> None:
        """Raises ValueError for a pattern that is none."""
        self.action = ACTIONS[config.action]
        self._allowed = frozenset(entry.lower() for entry in config.allow)
        self._patterns = _patterns(config.allow_patterns)
        self._style, self._key = config.replacement, config.key_name
        self._replace: Replace | None = masked if config.replacement == "mask" else None

    @property
    def binds(self) -> bool:
        return self.action is Action.REDACT and self._style in {"pseudonym", "token"}

    @property
    def as_written(self) -> bool:
        """Whether what is found is put back one day, and so must be kept as it was written."""
        return self._style == "token"

    def bound(self, scope: Scope) -> Treatment:
        """The same for one exchange."""
        made = copy.copy(self)
        if self._style == "token":
            made._replace = scope.tokens.token
        else:
            made._replace = Pseudonyms(scope.keys[self._key], scope.tenant)
        return made

    def allows(self, found: str) -> bool:
        if not (self._allowed or self._patterns):
            return False
        lower = found.lower()
        if lower in self._allowed or ("@" in lower and lower[lower.rindex("@") :] in self._allowed):
            return True
        return any(pattern.fullmatch(found) for pattern in self._patterns)

    def instead(self, kind: str, found: str) -> str:
        """What takes the place of a find; "" for its type's placeholder."""
        return self._replace(kind, found) if self._replace is not None else ""

    @property
    def replaces(self) -> bool:
        """Whether `instead` ever says something."""
        return self._replace is not None


def _patterns(written: Sequence[str]) -> list[Any]:
    try:
        return [re2.compile(pattern) for pattern in written]
    except re2.error:
        raise ValueError("an allowed pattern is no regular expression of RE2") from None
