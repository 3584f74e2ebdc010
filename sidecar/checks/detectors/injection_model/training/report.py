"""Leave-one-source-out: every source is judged by a model that saw neither it nor its kin; thresholds come from there.

Figures of rows that a model was trained on say nothing about rows of other people, so none are made.
"""

from __future__ import annotations

import collections
import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sidecar.checks import views
from sidecar.checks.detectors.injection_model.training import (
    judged,
    judged_languages,
    judged_reports,
    judged_triggers,
    judged_unseen,
)
from sidecar.checks.detectors.injection_model.training.fit import OWN as COMPOSED
from sidecar.checks.detectors.injection_model.training.fit import (
    Matrix,
    fit,
    folded,
    matrices,
    plausible,
)
from sidecar.checks.detectors.injection_model.training.sources import GROUPS, JUDGE_ONLY, Sample

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Scores by models that did not see the row's group; of JUDGE_ONLY rows and our own sentences the mean of all."""

    scores: Scores
    own: Mapping[str, Scores]


def leave_out(samples: Sequence[Sample], kinds: Sequence[Matrix], say: Callable[[str], None]) -> LeftOut:
    """Fit once per group of sources, on plausible rows; judge all rows. Two groups at a time, each on one core."""
    learnt = plausible(kinds, samples)
    say(f"{int((~learnt).sum())} attack rows are judged but not learnt")
    groups = np.array([sample.group for sample in samples])
    own = {name: matrices(texts) for name, texts in OWN.items()}
    rounds = _Rounds(samples, kinds, learnt, groups, own)
    away = [name for name in GROUPS if name != JUDGE_ONLY and (groups == name).any()]
    scores = np.zeros(len(samples))
    judges: list[Scores] = []
    judged_own: dict[str, list[Scores]] = {name: [] for name in own}
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork"), _begin, (rounds,)) as pool:
        for group, of_group, of_judges, of_own in pool.map(_leave, away):
            scores[groups == group] = of_group
            judges.append(of_judges)
            for name, found in of_own.items():
                judged_own[name].append(found)
            say(f"left out {group}: {len(of_group)} rows")
    scores[groups == JUDGE_ONLY] = np.mean(judges, axis=0)
    return LeftOut(scores=scores, own={name: np.mean(rows, axis=0) for name, rows in judged_own.items()})


@dataclass(frozen=True, slots=True)
class _Rounds:
    """What every round of leaving out works on; a forked process shares it with its parent."""

    samples: Sequence[Sample]
    kinds: Sequence[Matrix]
    learnt: NDArray[np.bool_]
    groups: NDArray[np.str_]
    own: Mapping[str, Sequence[Matrix]]

    def without(self, group: str) -> tuple[str, Scores, Scores, dict[str, Scores]]:
        """Scores of the group, of rows that only judge and of our own sentences, by a model that did not see the group."""
        away, judging = self.groups == group, self.groups == JUDGE_ONLY
        chosen = self.learnt & ~away & ~judging
        rows = [sample for sample, wanted in zip(self.samples, chosen, strict=True) if wanted]
        model = fit([matrix[chosen] for matrix in self.kinds], rows)
        return (
            group,
            model.scores([matrix[away] for matrix in self.kinds]),
            model.scores([matrix[judging] for matrix in self.kinds]),
            {name: model.scores(parts) for name, parts in self.own.items()},
        )


_rounds: list[_Rounds] = []


def _begin(rounds: _Rounds) -> None:
    _rounds[:] = [rounds]


def _leave(group: str) -> tuple[str, Scores, Scores, dict[str, Scores]]:
    return _rounds[0].without(group)


def balance(samples: Sequence[Sample], label: int) -> Scores:
    """Weights under which every family of sources of this label counts the same; they sum to one.

    Composed rows count nothing: every model has seen their grammar. Technical documents are one family. Nor do the
    benign rows of WildGuard count: many of them wrap a harmless request into a jailbreak.
    """
    families = [_family(sample) if sample.label == label else "" for sample in samples]
    counts = collections.Counter(family for family in families if family)
    return np.array([1 / counts[family] / len(counts) if family else 0.0 for family in families])


def _family(sample: Sample) -> str:
    if sample.source in {"composed", "neuralchemy_wildguard_judgecomp"}:
        return ""
    return "repo_docs" if sample.source.startswith("repo_docs_") else sample.source


def calibrate(samples: Sequence[Sample], scores: Scores) -> tuple[float, float]:
    """Slope and offset that turn left-out scores into probabilities, if attacks were as frequent as benign texts."""
    from sklearn.linear_model import LogisticRegression

    weights = balance(samples, 0) + balance(samples, 1)
    chosen = weights > 0
    labels = np.array([sample.label for sample in samples])
    line = LogisticRegression(C=1e6).fit(
        scores[chosen, None], labels[chosen], sample_weight=weights[chosen] * chosen.sum()
    )
    return float(line.coef_[0, 0]), float(line.intercept_[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleHits:
    """Rows that a rule hits, those of them that the model can't take back, and rows that only a weak rule hits."""

    any: NDArray[np.bool_]
    firm: NDArray[np.bool_]
    weak: NDArray[np.bool_]

    def standing(self, scores: Scores, doubt: float, weak: float) -> NDArray[np.bool_]:
        """Those that the detector flags or denies."""
        return self.denying(scores, doubt) | (self.weak & (scores >= weak))

    def denying(self, scores: Scores, doubt: float) -> NDArray[np.bool_]:
        """Those that it denies: weak rules only flag."""
        return self.firm | (self.any & (scores >= doubt))


def asked(samples: Sequence[Sample], scores: Scores) -> Scores:
    """The scores, the lowest of all for what the detector does not ask the model about."""
    from sidecar.checks.detectors.injection_texts import asks_of_others, phrase

    unasked = [phrase(folded(sample.text)) or asks_of_others(views.plain(sample.text)) for sample in samples]
    return np.where(unasked, scores.min(), scores)


def rule_hits(samples: Sequence[Sample]) -> RuleHits:
    """Our own sentences count as not hit: no figure speaks of them."""
    from sidecar.checks.detectors.prompt_injection import rule_verdict

    said = np.array(
        ["none" if sample.source == COMPOSED else rule_verdict(sample.text) for sample in samples]
    )
    return RuleHits(any=(said == "firm") | (said == "doubtful"), firm=said == "firm", weak=said == "weak")


def threshold(
    samples: Sequence[Sample], scores: Scores, rate: float, standing: NDArray[np.bool_] | None = None
) -> float:
    """The score that `rate` of left-out benign texts reach, every source counting the same. Of the rate, what rules
    hit anyway (`standing`) is spent already.
    """
    return _reached(balance(samples, 0), scores, rate, standing)


def document_threshold(
    samples: Sequence[Sample], scores: Scores, rate: float, standing: NDArray[np.bool_]
) -> float:
    """The same for technical documents, project by project; not below the score that all sources give."""
    sources = [sample.source if sample.source.startswith("repo_docs_") else "" for sample in samples]
    counts = collections.Counter(source for source in sources if source)
    weights = np.array([1 / counts[source] / len(counts) if source else 0.0 for source in sources])
    everywhere = threshold(samples, scores, rate, standing)
    return max(everywhere, _reached(weights, scores, rate, standing)) if counts else everywhere


def _reached(weights: Scores, scores: Scores, rate: float, standing: NDArray[np.bool_] | None) -> float:
    reaching = scores if standing is None else np.where(standing, np.inf, scores)
    order = np.argsort(-reaching, kind="stable")
    reached = np.cumsum(weights[order])
    at = reaching[order][min(int(np.searchsorted(reached, rate)), len(order) - 1)]
    return float(at) if np.isfinite(at) else float(scores.max())


def table(
    samples: Sequence[Sample],
    scores: Scores,
    standing: NDArray[np.bool_],
    rules: NDArray[np.bool_],
    at: float,
) -> list[dict[str, Any]]:
    """Per source: how many rows the model, the rules, and the detector hit at this threshold.

    The detector is the model, or what stands of the rules beside it.
    """
    detector = (scores >= at) | standing
    sources = np.array([sample.source for sample in samples])
    labels = np.array([sample.label for sample in samples])
    out: list[dict[str, Any]] = []
    for label in (1, 0):
        for source in sorted(set(sources[labels == label]) - {"composed"}):
            rows = (sources == source) & (labels == label)
            shares = {"model": scores >= at, "rules": rules, "detector": detector}
            out.append(
                {"source": str(source), "label": label, "rows": int(rows.sum())}
                | {name: round(float(found[rows].mean()), 4) for name, found in shares.items()}
            )
    return out


OWN: dict[str, tuple[str, ...]] = {
    "hard": judged.HARD,
    "hard_languages": judged_languages.HARD_LANGUAGES,
    "triggers": judged_triggers.TRIGGERS,
    "unseen": judged_unseen.UNSEEN,
    "sounds_unsafe": judged.SOUNDS_UNSAFE,
    "reports": judged_reports.REPORTS,
    "attacks": judged.ATTACKS,
    "turns": judged_reports.TURNS,
}
