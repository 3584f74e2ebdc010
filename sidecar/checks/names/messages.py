"""What process.py and the child that finds names say to each other."""

from __future__ import annotations

from sidecar.checks.child.messages import Part
from sidecar.checks.classifier.model_files import ModelFiles


class Configure(ModelFiles, frozen=True):
    """The first message to the child: which files, and which outputs of the model mean which kind of name."""

    labels: tuple[tuple[str, tuple[int, ...]], ...]
    threshold: float
    named: str
    nameless: str


class Question(Part, frozen=True):
    """Segments of one text, each read by itself, and until when: of time.monotonic, which parent and child share, so that
    waiting for other questions counts.
    """

    segments: tuple[str, ...]
    until: float


class Name(Part, frozen=True):
    """segments[segment][start:end] is a name of this kind, with this probability."""

    segment: int
    start: int
    end: int
    kind: str
    score: float


class Answer(Part, frozen=True):
    """The names of the first `read` segments; of the others nobody knows anything."""

    names: tuple[Name, ...]
    read: int
