"""What process.py and the child that runs a classifier say to each other."""

from __future__ import annotations

from sidecar.checks.child.messages import Part
from sidecar.checks.classifier.model_files import ModelFiles


class Configure(ModelFiles, frozen=True):
    """The first message to the child: which files, and what makes an attack of a text."""

    attack_labels: tuple[int, ...]
    threshold: float
    attack: str
    benign: str


class Question(Part, frozen=True):
    """One text, and until when it may be read: of time.monotonic, which parent and child share, so that waiting for other
    questions counts.
    """

    text: str
    until: float


class Answer(Part, frozen=True):
    """The highest probability of an attack in what was read; `whole`: that was all of it."""

    score: float
    whole: bool
