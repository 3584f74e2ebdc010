"""Finds instructions that mean to override the application: rules over several views of the text, in linear time.

Honest limits: rules know phrases. Indirect injections without trigger words, paraphrases and optimised suffixes pass.
System and developer messages come from the application: extraction and role rules don't apply to them.
"""

from __future__ import annotations

from collections.abc import Sequence

import re2

from bartizan.policy.checks import PromptInjection
from sidecar.checks import views
from sidecar.checks.base import CLEAN, Inspection, TextCheck
from sidecar.checks.detectors import injection_rules
from sidecar.checks.spans import ACTIONS
from sidecar.formats.base import TextPart
from sidecar.model.finding import Action, Finding

_MEMORY = 8 << 20
"""RE2's ceiling for one set's states, which it builds as texts need them and starts anew when they are full."""
_SETS = 4
"""Rules are split into sets: states of one set multiply, those of several only add up (measured: 17 MB, no restarts)."""
_APPLICATION = frozenset({"system", "developer", "definition"})
_NOT_FOR_APPLICATION = frozenset({"system_prompt_extraction", "role_hijack", "tool_abuse"})
_ENCODED = "encoded_payload"


class _Rules:
    """RE2 sets and the category of each of their patterns."""

    def __init__(self, rules: Sequence[tuple[str, str]], sets: int = 1) -> None:
        options = re2.Options()
        options.max_mem = _MEMORY
        options.log_errors = False
        self._sets: list[tuple[re2.Set, list[str]]] = []
        for part in range(sets):
            rule_set = re2.Set.SearchSet(options)
            chosen = rules[len(rules) * part // sets : len(rules) * (part + 1) // sets]
            for _, pattern in chosen:
                rule_set.Add(pattern)
            rule_set.Compile()
            self._sets.append((rule_set, [kind for kind, _ in chosen]))

    def kinds(self, text: str) -> set[str]:
        """Categories of the rules that match somewhere."""
        if not text:
            return set()
        data = text.encode()
        return {kinds[index] for rule_set, kinds in self._sets for index in rule_set.Match(data) or ()}


_FOLDED = _Rules(injection_rules.FOLDED, _SETS)
_PLAIN = _Rules(injection_rules.PLAIN)
_SQUEEZED = _Rules([(_ENCODED, pattern) for pattern in injection_rules.SQUEEZED])


class PromptInjectionCheck:
    """TextCheck for requests. A finding per category; an attack in a decoded view is an `encoded_payload`."""

    name = "promptInjection"
    max_match = 2**31 - 1
    """Not for streams: it reads whole texts."""

    def __init__(self, action: Action) -> None:
        self._action = action

    def inspect(self, part: TextPart) -> Inspection:
        kinds = _kinds(part.text)
        if part.role in _APPLICATION:
            kinds -= _NOT_FOR_APPLICATION
        if not kinds:
            return CLEAN
        return Inspection(
            findings=tuple(
                Finding(check=self.name, kind=kind, action=self._action, location=part.location)
                for kind in sorted(kinds)
            )
        )


def build(config: PromptInjection) -> TextCheck:
    return PromptInjectionCheck(ACTIONS[config.action])


def _kinds(text: str) -> set[str]:
    normal = views.plain(text)
    folded = views.folded(normal)
    kinds = _FOLDED.kinds(folded)
    if not normal.isascii():
        kinds |= _PLAIN.kinds(normal)
    if any(_FOLDED.kinds(view) for view in views.rewritten(folded)):
        kinds.add(_ENCODED)
    if spelled := views.spelled(folded):
        kinds |= _SQUEEZED.kinds(spelled)
    for found in views.decoded(text):
        hidden = views.plain(found)
        if _FOLDED.kinds(views.folded(hidden)) or (not hidden.isascii() and _PLAIN.kinds(hidden)):
            kinds.add(_ENCODED)
    return kinds
