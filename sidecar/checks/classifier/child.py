"""The process in which an operator's own model runs: `python -m sidecar.checks.classifier.child`.

A process of its own, because inference is C++ that takes long and much memory: it can be late or die without the
worker. It reads its two files, lets go of every right to open more, and ends when its standard input does.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from sidecar.checks.child.messages import Unfit, serve
from sidecar.checks.classifier.messages import Answer, Configure, Question
from sidecar.checks.classifier.runtime import MOST_CHARS, OnnxModel, confine, loaded

_SELF_TEST_SECONDS = 10.0


def build(configure: Configure) -> Callable[[Question], Answer]:
    """Raises Unfit with the reason when these files can't be used, or do not tell the two samples apart."""
    model = OnnxClassifier(loaded(configure), configure.attack_labels)
    confine()

    def judge(question: Question) -> Answer:
        try:
            return model.score(question.text, question.until)
        except Exception:  # of whatever kind: nobody judged this text
            return Answer(score=0.0, whole=False)

    for name, text, attack in (("attack", configure.attack, True), ("benign", configure.benign, False)):
        answer = judge(Question(text=text, until=time.monotonic() + _SELF_TEST_SECONDS))
        if not answer.whole:
            raise Unfit(f"self-test: selfTest.{name} could not be judged; does the tokenizer fit the model?")
        if (answer.score >= configure.threshold) is not attack:
            wanted = f"{'at least' if attack else 'less than'} {configure.threshold:g}"
            raise Unfit(f"self-test: selfTest.{name} got {answer.score:.3f}, wanted {wanted}")
    return judge


class OnnxClassifier:
    """A graph that makes one row of logits of tokens."""

    def __init__(self, model: OnnxModel, attack_labels: tuple[int, ...]) -> None:
        """Raises Unfit."""
        self._model = model
        self._labels = attack_labels
        self._check()

    def score(self, text: str, deadline: float) -> Answer:
        """The worst window, `deadline` of time.monotonic allowing. Raises what the runtime raises."""
        highest = 0.0
        for encoding in self._model.windows(text[:MOST_CHARS]):
            if time.monotonic() > deadline:
                return Answer(score=highest, whole=False)
            highest = max(highest, self._probability(encoding))
        return Answer(score=highest, whole=len(text) <= MOST_CHARS)

    def _probability(self, encoding: Any) -> float:
        logits = self._logits(encoding)
        if len(logits) == 1:  # one label: its own probability
            return float(1 / (1 + math.exp(-max(-60.0, min(60.0, float(logits[0]))))))
        shares = np.exp(logits - logits.max())
        return float(shares[list(self._labels)].sum() / shares.sum())

    def _logits(self, encoding: Any) -> Any:
        row = self._model.logits(encoding)
        if row.ndim != 1 or not len(row) or not np.isfinite(row).all():
            raise ValueError("no row of finite logits")
        return row

    def _check(self) -> None:
        """One run, before the first text counts: raises Unfit where graph, tokenizer and labels don't fit."""
        try:
            found = len(self._logits(next(self._model.windows("self-test"))))
        except Exception as error:  # as above
            raise Unfit(
                "model: can't be run on what the tokenizer makes: one row of logits is wanted"
            ) from error
        if max(self._labels) >= found:
            raise Unfit(f"attackLabels: the model has {found} labels, numbered from 0")


if __name__ == "__main__":
    serve(Configure, Question, build)
