"""What decoder.py and its child process say to each other."""

from __future__ import annotations

from sidecar.checks.child.messages import Part


class Configure(Part, frozen=True):
    """The first message to the child. `memory`: bytes of address space that it may have."""

    memory: int
    seconds: int
    """Of processor time for one picture."""


class Question(Part, frozen=True):
    """One picture, what its own structure says of it, and whether it is wanted back."""

    kind: str
    data: bytes
    width: int
    height: int
    frames: int
    lossless: bool
    reencode: bool


class Answer(Part, frozen=True):
    """`good`: it could be decoded, as what it says that it is. `data`: written anew, where that was asked for."""

    good: bool
    data: bytes = b""
