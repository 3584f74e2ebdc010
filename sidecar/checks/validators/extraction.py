"""Watches for a model being copied by its answers: more queries of one caller than honest use needs, most of them different.

Counts are this sidecar's, per key (or token's subject), and survive a change of the policy, not of the worker process.
It does not see: one campaign over many keys or sidecars, a slow one below the bound, nor what the queries aim at.
"""

from __future__ import annotations

from collections.abc import Sequence

from bartizan.policy.checks import ExtractionWatch
from bartizan.policy.quantities import parse_span
from sidecar.checks.base import QueryCheck
from sidecar.checks.query_history import QueryHistory
from sidecar.checks.spans import ACTIONS
from sidecar.model.finding import Action, Finding


class ExtractionCheck:
    """QueryCheck of one policy's line."""

    name = "extractionWatch"

    def __init__(self, window: float, most: int, spread: float, action: Action) -> None:
        self.action = action
        self._window = window
        self._most = most
        self._spread = spread

    def judge(self, history: QueryHistory, caller: str, queries: Sequence[bytes]) -> list[Finding]:
        asked = history.ask(caller, self._window, queries)
        if asked.queries <= max(1.0, self._most * history.share):
            return []
        if asked.different() < self._spread * asked.queries:
            return []
        return [Finding(check=self.name, kind="many_queries", action=self.action)]


def build(config: ExtractionWatch) -> QueryCheck:
    return ExtractionCheck(
        parse_span(config.window), config.max_queries, config.spread, ACTIONS[config.action]
    )
