"""Events of a stream that differ from an earlier one in one text alone, as nearly all of a model's answer do.

Such an event is JSON that has been read strictly, with another plain string in the place of one: it needs no second
reading. Used by event_stream.py for protocols whose reader says so (`EventReader.repeats`).
"""

from __future__ import annotations

import re

import msgspec

from sidecar.formats.base import StreamPiece, TextPart
from sidecar.formats.json_text import Path, span, string_token

_PLAIN = re.compile(rb'[^"\\\x00-\x1f]+')
_PATIENCE = 8
"""So many events that are of no earlier shape, one after the other, end the search for shapes: they cost more than they save."""


class Shape(msgspec.Struct, frozen=True, gc=False):
    """An event without its text: `head` ends with the opening quote, `tail` begins with the closing one."""

    head: bytes
    tail: bytes
    part: TextPart
    """Of the event that it was taken from."""

    def text_of(self, data: bytes) -> str | None:
        """The text of an event of this shape, None for another event."""
        start, end = len(self.head), len(data) - len(self.tail)
        if start < end and data.startswith(self.head) and data.endswith(self.tail):
            text = _PLAIN.fullmatch(data, start, end)
            if text is not None:
                try:
                    return text[0].decode()
                except UnicodeDecodeError:
                    return None
        return None

    def piece(self, text: str) -> StreamPiece:
        """The event of this shape with this text."""
        part = self.part
        return StreamPiece(texts=(TextPart(location=part.location, text=text, role=part.role),))

    def written(self, text: str) -> bytes:
        """The event's data with this text, whatever it holds."""
        return b"".join((self.head, string_token(text)[1:-1].encode(), self.tail))


class LastShape:
    """The newest shape of one stream."""

    def __init__(self) -> None:
        self._shape: Shape | None = None
        self._misses = 0

    def find(self, data: bytes) -> tuple[Shape, str] | None:
        """The event's shape and text, when its shape is known."""
        shape = self._shape
        if shape is None or (text := shape.text_of(data)) is None:
            return None
        self._misses = 0
        return shape, text

    def learn(self, text: str, path: Path, piece: StreamPiece) -> None:
        """Keep the shape of an event that was read in full: `text` is its data, its one text stands at `path`."""
        if self._misses >= _PATIENCE:
            return
        self._misses += 1
        start, end = span(text, path)
        head, tail = text[: start + 1].encode(), text[end - 1 :].encode()
        shape = Shape(head=head, tail=tail, part=piece.texts[0])
        # not of one whose string has escapes: then this says so
        if shape.text_of(text.encode()) == piece.texts[0].text and shape.piece(piece.texts[0].text) == piece:
            self._shape = shape
