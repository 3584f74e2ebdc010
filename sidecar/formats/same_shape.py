"""Events of a stream that differ from an earlier one in one text, and in members that say nothing, as nearly all of a
model's answer do.

Such an event is JSON that has been read strictly, with another plain string, number or time in the place of one: it needs
no second reading. Used by event_stream.py for protocols whose reader says so (`EventReader.repeats` in event_reader.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from sidecar.formats.base import StreamPiece, TextPart
from sidecar.formats.json_text import Path, span, string_token

Asides = Mapping[Path, re.Pattern[bytes]]
"""Members beside the text that differ from event to event, each with the JSON tokens that say nothing there."""
NO_ASIDES: Final[Asides] = {}
NUMBER: Final = re.compile(rb"0|[1-9][0-9]{0,5}")
"""Smaller than what any reader sees a text in (`walk.scalars`)."""
MOMENT: Final = re.compile(rb"0|[1-9][0-9]{0,9}")
"""Of a member that holds seconds since the epoch, or a number of its own."""
WORD: Final = re.compile(rb'"[A-Za-z0-9_.:/+\-]{0,128}"')
"""A string without escapes that is one by which programs go."""
PADDING: Final = re.compile(rb'"(?![A-Za-z0-9]{0,26}[0-9]{6})[A-Za-z0-9]{0,32}"')
"""Random letters and digits, by which engines hide how long a piece of text is. None that could be a card or a phone."""
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]+')
LONGEST: Final = 4_096
"""Bytes of an event that is known by its bytes, or kept until the next one: far fewer than any splitter takes for too large."""
_KEPT = 8
"""Text streams whose shapes are known at one time: alternatives of one answer come in turn."""
_PATIENCE = 2 * _KEPT
"""So many events that are of no earlier shape, one after the other, end the search for shapes: they cost more than they save."""


class Gap(msgspec.Struct, frozen=True, gc=False):
    """What differs: `before` are the bytes that stand between it and the gap before it."""

    before: bytes
    path: Path
    pattern: re.Pattern[bytes]


class Shape(msgspec.Struct, frozen=True, gc=False):
    """An event without its text and its asides."""

    gaps: tuple[Gap, ...]
    tail: bytes
    text: Path
    """Where the text stands. Its gap is between the quotes."""
    like: StreamPiece
    """Of the event that it was taken from."""
    strings: tuple[Path, ...]
    """Those of its asides that may be strings."""

    @property
    def location(self) -> str:
        """The text stream."""
        return self.like.texts[0].location

    def read(self, data: bytes) -> dict[Path, bytes] | None:
        """What an event of this shape has in its gaps, None for another event."""
        said: dict[Path, bytes] = {}
        at = 0
        for gap in self.gaps:
            if not data.startswith(gap.before, at):
                return None
            found = gap.pattern.match(data, at + len(gap.before))
            if found is None:
                return None
            said[gap.path] = found[0]
            at = found.end()
        return said if data[at:] == self.tail else None

    def piece(self, text: str, identifiers: tuple[TextPart, ...] = ()) -> StreamPiece:
        """The event of this shape with this text."""
        (part,) = self.like.texts
        said = TextPart(location=part.location, text=text, role=part.role)
        return StreamPiece(texts=(said,), identifiers=identifiers, whole=self.like.whole)

    def written(self, said: Mapping[Path, bytes]) -> bytes:
        """The event's data with this in its gaps."""
        data = b""
        for gap in self.gaps:
            data += gap.before + said[gap.path]
        return data + self.tail


class Around(msgspec.Struct, frozen=True, gc=False):
    """The bytes of one event around its text: most events of an answer repeat the last one's."""

    head: bytes
    tail: bytes
    said: TextPart

    def part(self, raw: bytes) -> TextPart | None:
        """What an event with these bytes says, None where more than the text is another."""
        head, tail = self.head, self.tail
        if len(raw) > LONGEST or not (raw.startswith(head) and raw.endswith(tail)):
            return None
        found = _PLAIN.fullmatch(raw, len(head), len(raw) - len(tail))
        if found is None:
            return None
        try:
            text = found[0].decode()
        except UnicodeDecodeError:
            return None
        said = self.said
        return TextPart(location=said.location, text=text, role=said.role)

    def written(self, text: str) -> bytes:
        """The event with this text, whatever it holds."""
        return self.head + _token(text) + self.tail


class Alike(msgspec.Struct, frozen=True, gc=False):
    """One event of a known shape."""

    shape: Shape
    said: dict[Path, bytes]
    text: str
    mark: Any
    """The reader's own, as if it had read the event."""

    def words(self) -> list[tuple[Path, str]]:
        """The asides that are strings."""
        said = [(at, self.said[at]) for at in self.shape.strings]
        return [(at, token[1:-1].decode()) for at, token in said if token[:1] == b'"']

    def written(self, text: str, edits: Mapping[Path, str]) -> bytes:
        """The event's data with this text, whatever it holds, and these asides in place of its own."""
        said = {**self.said}
        for at, token in edits.items():
            said[at] = token.encode()
        if text != self.text:
            said[self.shape.text] = _token(text)
        return self.shape.written(said)

    def around(self, raw: bytes, data: bytes) -> Around | None:
        """The bytes of this event, which hold its data once, without its text. None where bytes alone do not tell what the next
        one is: it has strings beside its text or a place in an order, or is nothing without its text.
        """
        shape = self.shape
        if self.mark is not None or shape.strings or shape.like.whole:
            return None
        before = raw.find(data)
        for gap in shape.gaps:
            before += len(gap.before)
            if gap.path == shape.text:
                break
            before += len(self.said[gap.path])
        end = before + len(self.said[shape.text])
        return Around(raw[:before], raw[end:], shape.like.texts[0])


class LastShapes:
    """The newest shape of each text stream of one answer, the one that was found last first."""

    def __init__(self, asides: Asides, mark_of: Callable[[Mapping[Path, bytes]], Any]) -> None:
        self._asides = asides
        self._mark_of = mark_of
        self._shapes: list[Shape] = []
        self._misses = 0
        self._read: tuple[str, Any, Path, StreamPiece, Any] | None = None

    def find(self, data: bytes) -> Alike | None:
        """The event as its shape, if that is known, reads it."""
        if self._read is not None:
            self._learn(*self._read)
            self._read = None
        for number, shape in enumerate(self._shapes):
            if (said := shape.read(data)) is None:
                continue
            try:
                text = said[shape.text].decode()
            except UnicodeDecodeError:
                return None
            if number:
                self._keep(shape)
            self._misses = 0
            return Alike(shape, said, text, self._mark_of(said))
        return None

    def learn(self, text: str, value: Any, path: Path, piece: StreamPiece, mark: Any) -> None:
        """Keep the shape of an event that was read in full: `text` is its data, its one text stands at `path` of `value`. Not
        before the next event asks for it, unless it is long: the first of an answer is what a client waits for.
        """
        if self._misses >= _PATIENCE:
            return
        self._misses += 1
        if len(text) > LONGEST:
            self._learn(text, value, path, piece, mark)
        else:
            self._read = text, value, path, piece, mark

    def _learn(self, text: str, value: Any, path: Path, piece: StreamPiece, mark: Any) -> None:
        start, end = span(text, path)
        spans = [(start + 1, end - 1, path, _PLAIN)]
        for at, pattern in self._asides.items():
            if _has(value, at):
                first, last = span(text, at)
                if pattern.fullmatch(text[first:last].encode()):
                    spans.append((first, last, at, pattern))
        shape = _shape(text, sorted(spans, key=lambda one: one[0]), path, piece)
        said = shape.read(text.encode())
        if said is None or self._mark_of(said) != mark:
            return
        # not of one whose string has escapes: then this says so
        if said[path].decode() == piece.texts[0].text and shape.piece(piece.texts[0].text) == piece:
            self._keep(shape)

    def _keep(self, shape: Shape) -> None:
        """One of a text stream: what its reader knows of that follows the newest event that it read."""
        others = [each for each in self._shapes if each.location != shape.location]
        self._shapes = [shape, *others[: _KEPT - 1]]


def _token(text: str) -> bytes:
    """The text as it stands between the quotes of a JSON string."""
    plain = text.encode()
    if not plain or (plain.isascii() and _PLAIN.fullmatch(plain)):
        return plain
    return string_token(text)[1:-1].encode()


def _shape(
    text: str, spans: Sequence[tuple[int, int, Path, re.Pattern[bytes]]], path: Path, piece: StreamPiece
) -> Shape:
    gaps: list[Gap] = []
    done = 0
    for start, end, at, pattern in spans:
        gaps.append(Gap(text[done:start].encode(), at, pattern))
        done = end
    strings = tuple(gap.path for gap in gaps if b'"' in gap.pattern.pattern and gap.path != path)
    return Shape(gaps=tuple(gaps), tail=text[done:].encode(), text=path, like=piece, strings=strings)


def _has(value: Any, path: Path) -> bool:
    for step in path:
        if not isinstance(value, dict) or step not in value:
            return False
        value = value[step]
    return True
