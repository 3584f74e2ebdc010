"""Fits the linear model: rows to sparse matrices, source-balanced weights, logistic regression, small integers.

scikit-learn and scipy are needed here and nowhere at run time; one thread, no randomness.
"""

from __future__ import annotations

import collections
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sidecar.checks import views
from sidecar.checks.detectors.injection_model.features import BITS, grams
from sidecar.checks.detectors.injection_model.model import WINDOW
from sidecar.checks.detectors.injection_model.training.sources import Sample

SOURCE_CAP = 1_200
"""No source weighs more than this many rows."""
STRENGTH = 4.0
ROUNDS = 60
ALONE = 0.3
"""How much of its weight an n-gram keeps that only one source holds: it tells the source more often than the attack."""
OWN: Final = "composed"
NOISE = 0.3
"""Attack rows in which a model that learnt our own sentences alone sees less than this are not learnt: most of them
can't be told from harmless text without their context, and teach the model that harmless words are attacks."""

Matrix = Any
"""scipy.sparse.csr_matrix: scipy has no types."""


@dataclass(frozen=True, slots=True)
class Linear:
    """A fitted model in floats: weights and rarity (idf) of each kind of n-gram, and the bias."""

    weights: tuple[NDArray[np.float32], ...]
    rarity: tuple[NDArray[np.float32], ...]
    bias: float

    def scores(self, kinds: Sequence[Matrix]) -> NDArray[np.float64]:
        total = np.full(kinds[0].shape[0], self.bias)
        for matrix, weights, rarity in zip(kinds, self.weights, self.rarity, strict=True):
            norms = np.sqrt(np.maximum(matrix @ (rarity * rarity), 1e-9))
            total += (matrix @ (rarity * weights)) / norms
        return total


def folded(text: str) -> str:
    """The reading of a text that the detector gives to the model."""
    return views.folded(views.plain(text))


def matrices(texts: Sequence[str]) -> list[Matrix]:
    """For each kind of n-gram a matrix of zeros and ones, a row per text (its first window)."""
    from scipy.sparse import csr_matrix

    found = [next(grams(folded(text)[:WINDOW], WINDOW + 2)) for text in texts]
    out = []
    for kind, bits in enumerate(BITS):
        rows = [each.buckets(kind, 0).astype(np.int32) for each in found]
        columns = np.concatenate(rows)
        starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
        ones = np.ones(len(columns), np.float32)
        out.append(csr_matrix((ones, columns, starts), shape=(len(texts), 1 << bits)))
    return out


def stacked(first: Sequence[Matrix], second: Sequence[Matrix]) -> list[Matrix]:
    """The rows of both, kind by kind."""
    from scipy.sparse import vstack

    return [vstack(pair).tocsr() for pair in zip(first, second, strict=True)]


def sample_weights(samples: Sequence[Sample]) -> NDArray[np.float64]:
    """Rows of large sources count for less; attacks and benign rows weigh the same in sum."""
    counts = collections.Counter((sample.source, sample.label) for sample in samples)
    weights = np.array([min(1.0, SOURCE_CAP / counts[sample.source, sample.label]) for sample in samples])
    labels = np.array([sample.label for sample in samples])
    weights[labels == 1] *= weights[labels == 0].sum() / max(weights[labels == 1].sum(), 1e-9)
    return weights


def fit(kinds: Sequence[Matrix], samples: Sequence[Sample]) -> Linear:
    """Logistic regression over the kinds side by side, each row of each kind scaled to length one."""
    from scipy.sparse import diags, hstack
    from sklearn.linear_model import LogisticRegression

    rarities = [_rarity(matrix) * _spread(matrix, samples) for matrix in kinds]
    scaled = []
    for matrix, rarity in zip(kinds, rarities, strict=True):
        norms = np.sqrt(np.maximum(matrix @ (rarity * rarity), 1e-9))
        scaled.append(diags((1 / norms).astype(np.float32)) @ matrix @ diags(rarity))
    regression = LogisticRegression(C=STRENGTH, max_iter=ROUNDS, solver="lbfgs")
    labels = np.array([sample.label for sample in samples])
    regression.fit(hstack(scaled).tocsr().astype(np.float32), labels, sample_weight=sample_weights(samples))
    cuts = np.cumsum([1 << bits for bits in BITS])[:-1]
    weights = np.split(regression.coef_[0].astype(np.float32), cuts)
    return Linear(tuple(weights), tuple(rarities), float(regression.intercept_[0]))


def plausible(kinds: Sequence[Matrix], samples: Sequence[Sample]) -> NDArray[np.bool_]:
    """Which rows may be learnt from: not the attacks that our own sentences say nothing about. No row of a data set
    has a say in this, so leaving sources out stays honest.
    """
    own = np.array([sample.source == OWN for sample in samples])
    attacks = np.array([sample.label == 1 for sample in samples])
    if not (own & attacks).any():
        return np.ones(len(samples), np.bool_)
    rows = [sample for sample in samples if sample.source == OWN]
    scores = fit([matrix[own] for matrix in kinds], rows).scores(kinds)
    kept: NDArray[np.bool_] = own | ~attacks | (1 / (1 + np.exp(-scores)) >= NOISE)
    return kept


def quantised(model: Linear) -> tuple[dict[str, NDArray[Any]], list[float], list[float]]:
    """Arrays of 8-bit integers and what a step of each kind is worth, for weights and for rarity.

    Nothing is clipped: the few large weights are the ones that decide.
    """
    arrays: dict[str, NDArray[Any]] = {}
    steps: list[float] = []
    rarity_steps: list[float] = []
    for kind, (weights, rarity) in enumerate(zip(model.weights, model.rarity, strict=True)):
        step = float(np.abs(weights).max()) / 127
        rarity_step = float(rarity.max()) / 255
        arrays[f"weights_{kind}"] = np.clip(np.rint(weights / step), -127, 127).astype(np.int8)
        arrays[f"rarity_{kind}"] = np.rint(rarity / rarity_step).astype(np.uint8)
        steps.append(step)
        rarity_steps.append(rarity_step)
    return arrays, steps, rarity_steps


def restored(
    arrays: dict[str, NDArray[Any]], steps: Sequence[float], rarity_steps: Sequence[float], bias: float
) -> Linear:
    """The model that the runtime will see."""
    kinds = range(len(steps))
    return Linear(
        tuple((arrays[f"weights_{kind}"] * np.float32(steps[kind])).astype(np.float32) for kind in kinds),
        tuple(
            (arrays[f"rarity_{kind}"] * np.float32(rarity_steps[kind])).astype(np.float32) for kind in kinds
        ),
        bias,
    )


def _spread(matrix: Matrix, samples: Sequence[Sample]) -> NDArray[np.float32]:
    """1 for n-grams that several sources or our own sentences hold, ALONE for the others."""
    from scipy.sparse import csr_matrix

    names = sorted({sample.source for sample in samples})
    places = {name: place for place, name in enumerate(names)}
    rows = [places[sample.source] for sample in samples]
    ones = np.ones(len(rows), np.float32)
    belongs = csr_matrix((ones, (rows, range(len(rows)))), shape=(len(names), len(rows)))
    held = (belongs @ matrix > 0).astype(np.float32).T @ np.array(
        [2.0 if name == OWN else 1.0 for name in names]
    )
    spread: NDArray[np.float32] = np.where(held >= 2, 1.0, ALONE).astype(np.float32)
    return spread


def _rarity(matrix: Matrix) -> NDArray[np.float32]:
    """Smoothed inverse document frequency of every bucket."""
    seen = np.asarray(matrix.sum(axis=0)).ravel()
    rarity: NDArray[np.float32] = (np.log((1 + matrix.shape[0]) / (1 + seen)) + 1).astype(np.float32)
    return rarity
