"""What firewall.py and its child process say to each other."""

from __future__ import annotations

from sidecar.checks.child.messages import Part


class Configure(Part, frozen=True):
    """The first message to the child."""

    folder: str
    paranoia: int


class Question(Part, frozen=True):
    """One request without its prompt. The body is JSON of our own making, or empty."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""


class Hit(Part, frozen=True):
    """A rule that matched, and the paranoia level that it belongs to."""

    rule: int
    level: int


class Answer(Part, frozen=True):
    """`exceeded`: the anomaly score of the policy's own paranoia level reached the threshold."""

    hits: tuple[Hit, ...] = ()
    exceeded: bool = False
