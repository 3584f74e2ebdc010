"""What a classifier's answer means for one text: the last word of the injection check where nothing else denied."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from bartizan.policy.checks import Classifier
from sidecar.checks.base import Evidence
from sidecar.checks.child.process import ChildFailed
from sidecar.checks.classifier.messages import Answer
from sidecar.checks.spans import ACTIONS
from sidecar.model.finding import Action

CLASSIFIED = "classified_injection"
FAILED = "classifier_failed"


class Asks(Protocol):
    """What answers: process.ClassifierProcess."""

    def start(self) -> None: ...

    def judge(self, text: str) -> Answer: ...


@dataclass(frozen=True, slots=True)
class Opinion:
    """`kind` is "" for a text that the classifier takes for harmless, all of it read."""

    kind: str
    action: Action
    score: float

    def evidence(self, length: int) -> Evidence:
        """For reports, of a text of so many characters: it stands for all of it."""
        return Evidence(
            kind=self.kind, action=self.action, start=0, end=length, score=self.score, rule="model/onnx"
        )


UNASKED = Opinion("", Action.ALLOW, 0.0)


@dataclass(frozen=True, slots=True)
class SecondOpinion:
    """One policy's classifier. Whatever it did not judge whole is a finding, never a pass without a word."""

    config: Classifier
    action: Action
    asks: Asks = field(repr=False)

    def wanted(self, likely: float | None) -> bool:
        """By the linear model's probability; None: it was not asked."""
        return likely is None or likely >= self.config.ask_from

    def of(self, text: str) -> Opinion:
        """Blocks up to the process' own deadline."""
        try:
            answer = self.asks.judge(text)
        except ChildFailed:
            answer = Answer(score=0.0, whole=False)
        if answer.score >= self.config.threshold:
            return Opinion(CLASSIFIED, self.action, answer.score)
        if not answer.whole:
            return Opinion(FAILED, ACTIONS[self.config.on_failure], answer.score)
        return Opinion("", Action.ALLOW, answer.score)
