"""The image check: is each picture of a request what the policy allows, and what does the model get of it. Pure but for asking.

What its first bytes and its own structure say is judged first; only a picture that is small enough is decoded, in
decoder.py's child. A picture with a finding stays as it came: it is refused, or flagged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from bartizan.policy.checks import Image
from bartizan.policy.quantities import parse_bytes
from sidecar.checks.base import Looked
from sidecar.checks.images import containers
from sidecar.checks.images.decoder import SECONDS, Decoder
from sidecar.checks.images.messages import Answer, Question
from sidecar.checks.images.sources import (
    Unreadable,
    allowed_elsewhere,
    bytes_of,
    declared_type,
    is_elsewhere,
    written_anew,
)
from sidecar.checks.spans import ACTIONS
from sidecar.formats.base import ImagePart
from sidecar.formats.magic import kind_of
from sidecar.model.finding import Action, Finding

_TYPES = {"image/jpg": "jpeg", "image/pjpeg": "jpeg", "image/apng": "png", "image/x-png": "png"}
_ANY = frozenset({"", "application/octet-stream", "binary/octet-stream", "image/*"})


class Asks(Protocol):
    """What decodes pictures: decoder.Decoder."""

    def start(self) -> None: ...
    def decode(self, question: Question, deadline: float) -> Answer: ...


class ImageCheck:
    """One policy's check."""

    name = "image"

    def __init__(self, config: Image, asks: Asks, *, seconds: float = SECONDS) -> None:
        """`seconds` for all pictures of one body."""
        self._seconds = seconds
        self._config = config
        self._asks = asks
        self._most = parse_bytes(config.max_bytes)
        self._action = ACTIONS[config.action]

    def start(self) -> None:
        """Raises ResourceRejected where pictures can't be decoded."""
        self._asks.start()

    def judge(self, parts: Sequence[ImagePart], gone: Callable[[], bool] = lambda: False) -> list[Looked]:
        """Raises ChildFailed. Ends early once `gone` says that nobody waits."""
        if len(parts) > self._config.max_count:
            return [
                Looked(part=parts[self._config.max_count], findings=(self._finding("too_many", parts[-1]),))
            ]
        deadline = time.monotonic() + self._seconds
        looked: list[Looked] = []
        for part in parts:
            if gone():
                break
            looked.append(self._look(part, deadline))
        return looked

    def _look(self, part: ImagePart, deadline: float) -> Looked:
        if is_elsewhere(part):
            if allowed_elsewhere(part, self._config.remote):
                return Looked(part=part)
            kind = "stored" if part.form == "stored" else "remote"
            return Looked(part=part, findings=(self._finding(kind, part),))
        try:
            data = bytes_of(part, self._most)
            question, more = self._question(data, declared_type(part))
        except Unreadable as error:
            return Looked(part=part, findings=(self._finding(error.kind, part),))
        answer = self._asks.decode(question, deadline)
        if not answer.good:
            return Looked(part=part, findings=(self._finding("malformed", part),))
        if not self._config.reencode:
            return Looked(part=part, size=len(data))
        findings = (Finding(check=self.name, kind="metadata", action=Action.REDACT, location=part.location),)
        written = written_anew(part, answer.data)
        return Looked(part=part, findings=findings if more else (), written=written, size=len(data))

    def _question(self, data: bytes, declared: str) -> tuple[Question, bool]:
        """What is asked, and whether there is more in it than a picture. Raises Unreadable for what need not be decoded to
        be refused.
        """
        kind = kind_of(data)
        if kind not in self._config.types:
            raise Unreadable("type_not_allowed")
        if declared not in _ANY and _TYPES.get(declared, declared.removeprefix("image/")) != kind:
            raise Unreadable("type_mismatch")
        try:
            found = containers.read(kind, data)
        except containers.Malformed:
            raise Unreadable("malformed") from None
        if found.frames > self._config.max_frames:
            raise Unreadable("too_many_frames")
        if found.width * found.height * found.frames > self._config.max_pixels:
            raise Unreadable("too_many_pixels")
        if found.end < len(data) and not self._config.reencode:
            raise Unreadable("trailing_data")
        question = Question(
            kind=kind,
            data=data[: found.end],
            width=found.width,
            height=found.height,
            frames=found.frames,
            lossless=found.lossless,
            reencode=self._config.reencode,
        )
        return question, found.metadata or found.end < len(data)

    def _finding(self, kind: str, part: ImagePart) -> Finding:
        return Finding(check=self.name, kind=kind, action=self._action, location=part.location)


def build(config: Image) -> ImageCheck:
    return ImageCheck(config, Decoder(config.max_pixels))
