"""Finds instructions that mean to override the application: rules over views of the text, then a linear model.

Honest limits: rules know phrases, the model knows words and their order. Indirect injections without trigger words,
far paraphrases and optimised suffixes pass. System and developer messages come from the application: extraction and
role rules don't apply to them, nor does the model, which can't tell an operator's orders from an attacker's.
"""

from __future__ import annotations

from collections.abc import Sequence

import re2

from bartizan.policy.checks import PromptInjection
from sidecar.checks import views
from sidecar.checks.base import CLEAN, Inspection, TextCheck
from sidecar.checks.detectors import injection_rules
from sidecar.checks.detectors.injection_model.model import SHORT, InjectionModel, shipped
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
_LIKELY = "likely_injection"
"""What the model says: it has no categories."""
_UNDOUBTED = frozenset({_ENCODED, "delimiter_injection", "exfiltration", "tool_abuse"})
"""Categories whose signs nobody writes by chance, or which the model can't see."""


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
    """TextCheck for requests. A finding per category; an attack in a decoded view is an `encoded_payload`.

    The model judges what no rule matched: from its block threshold on its finding has the policy's action, from its
    flag threshold on it is a flag. And it takes a rule's hit in a short, plain text back where it is in doubt: people
    who ask about rules and settings use the words of attacks. Long texts would be a place to drown an attack in.
    """

    name = "promptInjection"
    max_match = 2**31 - 1
    """Not for streams: it reads whole texts."""

    def __init__(self, action: Action, model: InjectionModel | None) -> None:
        self._action = action
        self._model = model

    def inspect(self, part: TextPart) -> Inspection:
        reading = _Reading(part.text)
        kinds = reading.kinds()
        action = self._action
        if part.role in _APPLICATION:
            kinds -= _NOT_FOR_APPLICATION
        elif self._model and kinds and self._doubted(self._model, reading, kinds):
            kinds = set()
        elif self._model and not kinds:
            action = self._judged(self._model, reading)
            kinds = {_LIKELY} if action else set()
        if not kinds:
            return CLEAN
        return Inspection(
            findings=tuple(
                Finding(check=self.name, kind=kind, action=action, location=part.location)
                for kind in sorted(kinds)
            )
        )

    def _doubted(self, model: InjectionModel, reading: _Reading, kinds: set[str]) -> bool:
        if len(reading.folded) > SHORT or not reading.folded.isascii() or kinds & _UNDOUBTED:
            return False
        return model.probability(reading.folded) < model.thresholds.doubt

    def _judged(self, model: InjectionModel, reading: _Reading) -> Action:
        likely = max(model.probability(text) for text in (reading.folded, *reading.hidden()))
        if likely >= model.thresholds.block:
            return self._action
        return Action.FLAG if likely >= model.thresholds.flag else Action.ALLOW


def build(config: PromptInjection) -> TextCheck:
    """Raises TrustError when the model is wanted and its weights are not the ones that were released."""
    return PromptInjectionCheck(ACTIONS[config.action], shipped() if config.model == "default" else None)


def rule_kinds(text: str) -> set[str]:
    """Categories of the rules that match some view of this text."""
    return _Reading(text).kinds()


class _Reading:
    """A text and its views, each made once."""

    def __init__(self, text: str) -> None:
        self._normal = views.plain(text)
        self._decoded = [views.plain(found) for found in views.decoded(text)]
        self.folded = views.folded(self._normal)

    def hidden(self) -> tuple[str, ...]:
        """What was encoded or invisible, folded, as one text; none if nothing was."""
        return (views.folded(" ".join(self._decoded)),) if self._decoded else ()

    def kinds(self) -> set[str]:
        kinds = _FOLDED.kinds(self.folded)
        if not self._normal.isascii():
            kinds |= _PLAIN.kinds(self._normal)
        if any(_FOLDED.kinds(view) for view in views.rewritten(self.folded)):
            kinds.add(_ENCODED)
        if spelled := views.spelled(self.folded):
            kinds |= _SQUEEZED.kinds(spelled)
        for hidden in self._decoded:
            if _FOLDED.kinds(views.folded(hidden)) or (not hidden.isascii() and _PLAIN.kinds(hidden)):
                kinds.add(_ENCODED)
        return kinds
