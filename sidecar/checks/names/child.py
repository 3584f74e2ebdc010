"""The process in which a model of names runs: `python -m sidecar.checks.names.child`.

Like the classifier's (classifier/child.py), and as confined. The model says of each token how likely it is a part of a
name; a word counts as its likeliest token does, and words that stand together are one name.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sidecar.checks.child.messages import Unfit, serve
from sidecar.checks.classifier.runtime import OnnxModel, confine, loaded
from sidecar.checks.names.messages import Answer, Configure, Name, Question

_SELF_TEST_SECONDS = 10.0
_BETWEEN = re.compile(r"(?:[-'\u2019.]|\.?[ \t\u00a0]{1,2}(?:\w\.?[ \t\u00a0])?)?")
"""What may stand between two words of one name: a hyphen, an apostrophe, blanks, an initial."""
_LETTER = re.compile(r"[^\W\d_]")


def build(configure: Configure) -> Callable[[Question], Answer]:
    """Raises Unfit with the reason when these files can't be used, or find names where none are or none where one is."""
    model = NameModel(loaded(configure), dict(configure.labels), configure.threshold)
    confine()

    def judge(question: Question) -> Answer:
        names: list[Name] = []
        for number, segment in enumerate(question.segments):
            try:
                if time.monotonic() > question.until:
                    return Answer(names=tuple(names), read=number)
                names += [
                    Name(segment=number, start=found.start, end=found.end, kind=found.kind, score=found.score)
                    for found in model.names(segment)
                ]
            except Exception:  # of whatever kind: nobody judged this segment
                return Answer(names=tuple(names), read=number)
        return Answer(names=tuple(names), read=len(question.segments))

    for sample, text, named in (("named", configure.named, True), ("nameless", configure.nameless, False)):
        answer = judge(Question(segments=(text,), until=time.monotonic() + _SELF_TEST_SECONDS))
        if not answer.read:
            raise Unfit(
                f"self-test: selfTest.{sample} could not be judged; does the tokenizer fit the model?"
            )
        found = [text[name.start : name.end] for name in answer.names]
        if bool(found) is not named:
            raise Unfit(f"self-test: in selfTest.{sample} {', '.join(found) or 'nothing'} was found")
        if text in found:
            raise Unfit("self-test: the whole of selfTest.named was found; does the tokenizer make words?")
    return judge


@dataclass(frozen=True, slots=True)
class _Word:
    start: int
    end: int
    kind: str
    score: float


class NameModel:
    """A graph that makes one row of logits for each token."""

    def __init__(self, model: OnnxModel, labels: dict[str, tuple[int, ...]], threshold: float) -> None:
        """Raises Unfit."""
        self._model = model
        self._kinds = list(labels)
        self._columns = [list(labels[kind]) for kind in self._kinds]
        self._threshold = threshold
        self._check()

    def names(self, text: str) -> list[_Word]:
        """In text order, without overlaps. Raises what the runtime raises."""
        scores: dict[tuple[int, int], Any] = {}
        for encoding in self._model.windows(text):
            of_tokens = self._probabilities(encoding)
            for place, tokens in _words(encoding):
                likely = of_tokens[tokens].max(axis=0)
                known = scores.get(place)
                scores[place] = likely if known is None else np.maximum(known, likely)
        words = [
            _Word(start, end, self._kinds[int(likely.argmax())], float(likely.max()))
            for (start, end), likely in sorted(scores.items(), key=lambda item: item[0])
            if likely.max() >= self._threshold
        ]
        return _joined(text, words)

    def _probabilities(self, encoding: Any) -> Any:
        """A row for each token, a column for each kind."""
        logits = self._logits(encoding)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        return np.stack([shares[:, columns].sum(axis=1) for columns in self._columns], axis=1)

    def _logits(self, encoding: Any) -> Any:
        rows = self._model.logits(encoding)
        if rows.ndim != 2 or len(rows) != len(encoding.ids) or not np.isfinite(rows).all():
            raise ValueError("no row of finite logits for each token")
        return rows

    def _check(self) -> None:
        """One run, before the first text counts: raises Unfit where graph, tokenizer and labels don't fit."""
        try:
            found = self._logits(next(self._model.windows("self-test"))).shape[1]
        except Exception as error:  # the runtime's own classes
            raise Unfit(
                "model: can't be run on what the tokenizer makes: one row of logits for each token is wanted"
            ) from error
        if max(max(columns) for columns in self._columns) >= found:
            raise Unfit(f"labels: the model has {found} labels, numbered from 0")


def _words(encoding: Any) -> Iterator[tuple[tuple[int, int], list[int]]]:
    """Where each word of a window stands, and the numbers of its tokens. What a model marks text with is none.

    A word that a window holds in part is taken as it is: the next one holds it whole.
    """
    places: dict[int, tuple[int, int, list[int]]] = {}
    for number, (word, (start, end)) in enumerate(zip(encoding.word_ids, encoding.offsets, strict=True)):
        if word is None or start == end:
            continue
        first, last, tokens = places.get(word, (start, end, []))
        places[word] = (min(first, start), max(last, end), [*tokens, number])
    for first, last, tokens in places.values():
        yield (first, last), tokens


def _joined(text: str, words: list[_Word]) -> list[_Word]:
    """Neighbours of one kind as one name, from its first letter or digit to its last; no single Latin letters."""
    names: list[_Word] = []
    for word in words:
        start, end = _trimmed(text, word.start, word.end)
        if not _LETTER.search(text, start, end):
            continue
        last = names[-1] if names else None
        if last and start < last.end:  # two windows' parts of one word
            names[-1] = replace(last, end=max(last.end, end), score=max(last.score, word.score))
        elif last and last.kind == word.kind and _BETWEEN.fullmatch(text, last.end, start):
            names[-1] = replace(last, end=end, score=max(last.score, word.score))
        else:
            names.append(replace(word, start=start, end=end))
    return [name for name in names if name.end - name.start > 1 or text[name.start] > "\u02ff"]


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and not text[start].isalnum():
        start += 1
    while end > start and not text[end - 1].isalnum():
        end -= 1
    return start, end


if __name__ == "__main__":
    serve(Configure, Question, build)
