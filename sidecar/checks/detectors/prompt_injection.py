"""Finds instructions that mean to override the application: rules over views of the text, then a linear model, and
where the policy names one, a classifier of the operator's own (sidecar/checks/classifier).
Honest limits: rules know phrases, the model knows words and their order. Indirect injections without trigger words,
far paraphrases and optimised suffixes pass. System and developer messages come from the application: extraction and
role rules don't apply to them, nor does the model, which can't tell an operator's orders from an attacker's.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

from msgspec import UNSET

from bartizan.policy.checks import PromptInjection
from sidecar.checks import views
from sidecar.checks.alignment import align
from sidecar.checks.base import CLEAN, Evidence, Explanation, Inspection, TextCheck
from sidecar.checks.classifier.opinion import UNASKED, Opinion, SecondOpinion
from sidecar.checks.classifier.process import ClassifierProcess
from sidecar.checks.detectors import injection_rules, injection_rules_weak
from sidecar.checks.detectors.injection_model.model import SHORT, WINDOW, InjectionModel, shipped
from sidecar.checks.detectors.injection_texts import asks_of_others, latin, phrase
from sidecar.checks.detectors.rule_sets import Place, RuleSets
from sidecar.checks.spans import ACTIONS
from sidecar.formats.base import TextPart
from sidecar.model.finding import Action, Finding

_SETS = 4
"""Of weak rules: in one set their states would multiply."""
_APPLICATION = frozenset({"system", "developer", "definition"})
_BROUGHT = frozenset({"tool", "function"})
"""Roles of what a tool or a search brought: documents, with a threshold of their own."""
_NAMES = 256
"""Identifiers whose verdicts are remembered: nearly every request names the same few models."""
_LONGEST_NAME = 128
"""Characters: a name is what a client wrote, and may be as long as a body."""
_NOT_FOR_APPLICATION = frozenset({"system_prompt_extraction", "role_hijack", "tool_abuse"})
_ENCODED, _BOUNDED, _LIKELY = "encoded_payload", "views_bounded", "likely_injection"
"""The last is what the model says: it has no categories."""
_UNDOUBTED = frozenset({_ENCODED, "delimiter_injection", "exfiltration", "tool_abuse"})
"""Categories whose signs nobody writes by chance, or which the model can't see."""


_FOLDED = RuleSets(injection_rules.FOLDED, first=True)
_PLAIN = RuleSets(injection_rules.PLAIN)
_WEAK = RuleSets([(_LIKELY, pattern) for pattern in injection_rules_weak.WEAK], _SETS)
_SQUEEZED = RuleSets([(_ENCODED, pattern) for pattern in injection_rules.SQUEEZED])


@dataclass(frozen=True, slots=True)
class _Decided:
    """Categories that stand, what to do about them, and the model's probability if it was asked."""

    kinds: set[str]
    action: Action
    likely: float | None = None


class PromptInjectionCheck:
    """TextCheck for requests. A finding per category; an attack in a decoded view is an `encoded_payload`.

    The model judges what no rule matched: from its block threshold on its finding has the policy's action, from its
    flag threshold on it is a flag, from the weak threshold on where a weak rule seconds it. And it takes a rule's hit in a
    short, plain text back where it is in doubt: people who ask about settings use the words of attacks, and reports quote
    them. Long texts would be a place to drown an attack in. Questions about others (injection_texts.py) never count.
    """

    name = "promptInjection"
    identifiers = 128
    max_match = 2**31 - 1
    """Not for streams: it reads whole texts."""

    def __init__(
        self, action: Action, model: InjectionModel | None, second: SecondOpinion | None = None
    ) -> None:
        self._action, self._model, self._second = action, model, second
        self._named = functools.lru_cache(_NAMES)(self._judge)

    @property
    def asks(self) -> bool:
        """Whether it asks another process."""
        return self._second is not None

    def start(self) -> None:
        """Raises ResourceRejected when the classifier can't be used."""
        if self._second is not None:
            self._second.asks.start()

    def inspect(self, part: TextPart) -> Inspection:
        judge = self._named if part.identifier and len(part.text) <= _LONGEST_NAME else self._judge
        decided, bounded = judge(part.text, part.role, part.prose)
        opinion = self._opinion(part, decided)
        found = [(kind, decided.action) for kind in sorted(decided.kinds)]
        if opinion.kind:
            found.append((opinion.kind, opinion.action))
        unseen = (_BOUNDED,) if bounded else ()
        if not found and not unseen:
            return CLEAN
        return Inspection(
            unseen=unseen,
            findings=tuple(
                Finding(check=self.name, kind=kind, action=action, location=part.location)
                for kind, action in found
            ),
        )

    def explain(self, part: TextPart) -> Explanation:
        """The score is the model's probability; a rule that stands lifts it to the threshold that denies."""
        reading = _Reading(part.text, prose=part.prose)
        decided = self._decide(reading, part.role)
        score = decided.likely
        if score is None and self._model and part.role not in _APPLICATION:
            score = self._probability(self._model, reading)
        score = score or 0.0
        if decided.kinds - {_LIKELY}:
            score = max(score, self._model.thresholds.block if self._model else 1.0)
        places = self._places(part.text, reading, decided.kinds) if decided.kinds else []
        evidence = [
            Evidence(kind=kind, action=decided.action, start=start, end=end, score=score, rule=rule)
            for kind, rule, (start, end) in places
        ]
        opinion = self._opinion(part, decided)
        if opinion.kind:
            evidence.append(opinion.evidence(len(part.text)))
        return Explanation(score=max(score, opinion.score), evidence=tuple(evidence))

    def _opinion(self, part: TextPart, decided: _Decided) -> Opinion:
        """The classifier's, of people's and documents' sentences that may still pass."""
        settled = decided.kinds and decided.action is self._action
        if self._second is None or settled or part.role in _APPLICATION or not part.prose:
            return UNASKED
        return self._second.of(part.text) if self._second.wanted(decided.likely) else UNASKED

    def _places(self, text: str, reading: _Reading, kinds: set[str]) -> list[Place]:
        """Which rules these kinds come from, and where in the text. A finding in a view stands for the whole text."""
        lines = align(text, reading.folded, lambda stretch: views.folded(views.plain(stretch)))
        places = [
            (kind, rule, lines.original(*span)) for kind, rule, span in reading.places() if kind in kinds
        ]
        if _LIKELY in kinds and self._model:
            _, start, end = self._model.worst(reading.folded)
            places.append((_LIKELY, "model/linear", lines.original(start, end)))
        named = {kind for kind, _, _ in places}
        return places + [(kind, f"{kind}/view", (0, len(text))) for kind in sorted(kinds - named)]

    def _judge(self, text: str, role: str, prose: bool) -> tuple[_Decided, bool]:
        """What is decided of this text, and whether not all of it could be read."""
        reading = _Reading(text, prose=prose)
        return self._decide(reading, role), reading.bounded

    def _decide(self, reading: _Reading, role: str) -> _Decided:
        found = self._found(reading, role)
        if role not in _APPLICATION and reading.asks_of_others(found.kinds):
            return _Decided(set(), Action.ALLOW, found.likely)
        return found

    def _found(self, reading: _Reading, role: str) -> _Decided:
        kinds = reading.kinds()
        if role in _APPLICATION:
            return _Decided(kinds - _NOT_FOR_APPLICATION, self._action)
        if self._model is None or (kinds and not reading.doubtful(kinds)):
            return _Decided(kinds, self._action)
        thresholds = self._model.thresholds
        if kinds:
            likely = self._model.probability(reading.folded)
            return _Decided(kinds if likely >= thresholds.doubt else set(), self._action, likely)
        likely = self._probability(self._model, reading)
        action = self._judged(self._model, likely, role)
        if not action and role not in _BROUGHT and likely >= thresholds.weak and reading.weak():
            action = Action.FLAG
        return _Decided({_LIKELY} if action else set(), action, likely)

    def _probability(self, model: InjectionModel, reading: _Reading) -> float:
        """Of a name or a phrase only what is encoded in it: out of a sentence the model knows nothing of words."""
        judged = reading.prose and not phrase(reading.folded)
        texts = (reading.folded, *reading.hidden()) if judged else reading.hidden()
        return max(map(model.probability, texts), default=0.0)

    def _judged(self, model: InjectionModel, likely: float, role: str) -> Action:
        flag = model.thresholds.document if role in _BROUGHT else model.thresholds.flag
        if likely >= max(flag, model.thresholds.block):
            return self._action
        return Action.FLAG if likely >= flag else Action.ALLOW


def build(config: PromptInjection) -> TextCheck:
    """Raises TrustError when the model is wanted and its weights are not the ones that were released."""
    action, second = ACTIONS[config.action], None
    if config.classifier is not UNSET:
        second = SecondOpinion(config.classifier, action, ClassifierProcess(config.classifier))
    return PromptInjectionCheck(action, shipped() if config.model == "default" else None, second)


def rule_kinds(text: str) -> set[str]:
    """Categories of the rules that match some view of this text and count there."""
    return _Reading(text).standing()


def rule_verdict(text: str) -> Literal["none", "weak", "doubtful", "firm"]:
    """What the rules alone say, and whether the model has a say in it. For the figures of a training."""
    reading = _Reading(text)
    kinds = reading.standing()
    if not kinds:
        return "weak" if reading.weak() else "none"
    return "doubtful" if reading.doubtful(kinds) else "firm"


class _Reading:
    """A text and its views, each made once."""

    def __init__(self, text: str, *, prose: bool = True) -> None:
        self.prose = prose
        self._normal = views.plain(text)
        bounds = views.Bounds()
        self._decoded = [views.plain(found) for found in views.decoded(text, bounds)]
        self.folded = views.folded(self._normal)
        self.bounded = bounds.reached or not views.reads_whole(self.folded)
        """A bound ended a reading; the model's is wider than that of rewritten letters."""

    def hidden(self) -> tuple[str, ...]:
        """What was encoded or invisible, folded, as one text, and the text itself without the signs that mask it."""
        unmasked = views.unmasked(self.folded)
        decoded = views.folded(" ".join(self._decoded)) if self._decoded else ""
        return tuple(text for text in (decoded, unmasked) if text)

    def places(self) -> list[Place]:
        """Which rules match the folded text, and where in it; those of views are not placed."""
        found = _FOLDED.places(self.folded)
        if len(self._normal) == len(self.folded) and not self._normal.isascii():
            found += _PLAIN.places(self._normal)
        return found

    def doubtful(self, kinds: set[str]) -> bool:
        """Whether these kinds may be a figure of speech: in a short, plain text, and not by their very form an attack."""
        return len(self.folded) <= SHORT and not kinds & _UNDOUBTED and latin(self.folded)

    def asks_of_others(self, kinds: set[str]) -> bool:
        """Whether these kinds were found in a question that orders nothing."""
        plain = bool(kinds) and not kinds & _UNDOUBTED and not any(self.hidden())
        return plain and asks_of_others(self._normal)

    def standing(self) -> set[str]:
        """The rules' kinds, but none in such a question."""
        kinds = self.kinds()
        return set() if self.asks_of_others(kinds) else kinds

    def weak(self) -> bool:
        """Whether a phrase is there that harmless texts hold, too."""
        return bool(_WEAK.kinds(self.folded[:WINDOW]))

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
