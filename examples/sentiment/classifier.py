"""The model itself: TF-IDF and logistic regression (scikit-learn), trained at start in well under a second.

Like many real services it explains itself by the nearest training example, which is how training data leaks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from data import training_set
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression


@dataclass(frozen=True, slots=True)
class Prediction:
    """Per-class probabilities at full precision, and the training text that is most alike."""

    label: str
    probabilities: dict[str, float]
    nearest: str


class Classifier:
    """Trained once; predict is thread-safe."""

    def __init__(self) -> None:
        self._texts, labels = training_set()
        self._vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        self._matrix = self._vectorizer.fit_transform(self._texts)
        self._model = LogisticRegression(max_iter=500).fit(self._matrix, labels)

    def predict(self, text: str) -> Prediction:
        """Classify one text."""
        row = self._vectorizer.transform([text])
        scores = self._model.predict_proba(row)[0]
        by_class = {str(name): float(score) for name, score in zip(self._model.classes_, scores, strict=True)}
        nearest = self._texts[int(np.argmax(self._matrix @ row.T.toarray()))]
        return Prediction(
            label=max(by_class, key=lambda name: by_class[name]), probabilities=by_class, nearest=nearest
        )
