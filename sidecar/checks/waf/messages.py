"""What firewall.py and its child process say to each other: length-prefixed msgpack over pipes."""

from __future__ import annotations

import struct
from typing import Literal

import msgspec

LENGTH = struct.Struct(">I")
MOST = 4 * 1024 * 1024


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """Base of what goes over the pipes."""


class Configure(Part, frozen=True):
    """The first message to the child."""

    folder: str
    paranoia: int


class Ready(Part, frozen=True):
    """The child's first message: how many rules it loaded, or why it can't."""

    rules: int = 0
    error: str = ""


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


Mode = Literal["block", "detect"]
