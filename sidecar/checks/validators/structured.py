"""Judges the text of an answer of a chat as JSON by the policy's schema. L is MAX_WHOLE."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bartizan.policy.bounded_schema import BoundedSchema
from bartizan.policy.checks import Structured
from sidecar.checks.base import WholeCheck
from sidecar.checks.spans import ACTIONS
from sidecar.checks.validators.whole import MAX_WHOLE, read_json
from sidecar.model.finding import Action, Finding

_CONTENT = re.compile(
    r"choices\[\d+\]\.(?:text|(?:message|delta)\.content(?:\[\d+\](?:\.text)?)?)"  # OpenAI
    r"|content\[\d+\]\.text"  # Anthropic
    r"|message\.content|response"  # Ollama
    r"|(?:response\.)?output\[\d+\](?:\.(?:item|added|part))?\.content(?:\[\d+\](?:\.text)?)?"  # Responses
    r"|output\[\d+\]\.response\.output_text\[\d+, \d+\]\.(?:delta|done)"
)


class StructuredCheck:
    """WholeCheck over the content of every choice."""

    name = "structured"

    def __init__(self, schema: dict[str, Any], action: Action) -> None:
        self.action = action
        self._schema = BoundedSchema(schema)

    def reads(self, location: str) -> bool:
        return _CONTENT.fullmatch(location) is not None

    def holds(self, location: str) -> bool:
        return self.reads(location)

    def judge(self, texts: Mapping[str, str], *, complete: bool) -> list[Finding]:
        if not complete:
            return []
        return [
            Finding(check=self.name, kind="schema_mismatch", action=self.action, location=location)
            for location, text in texts.items()
            if self.reads(location) and not self._fits(text)
        ]

    def _fits(self, text: str) -> bool:
        known, value = read_json(text)
        return known and len(text) <= MAX_WHOLE and self._schema.admits(value)


def build(config: Structured) -> WholeCheck:
    return StructuredCheck(config.schema, ACTIONS[config.action])
