"""Names of tools that a model server cuts over several events, put together before anything of them is out.

What checks and clients see is one event with the whole name, and later ones without any. Used by event_stream.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container
from typing import Final, Protocol

import msgspec

from sidecar.formats.base import StreamPiece
from sidecar.formats.json_text import splice, string_token
from sidecar.formats.reading import Reading, malformed
from sidecar.formats.same_shape import Alike

MAX_NAME: Final = 1_024
"""Characters of a name that comes in pieces; protocols know 64 to 128, and events are held back meanwhile."""


class RawEvent(Protocol):
    """One event as bytes: with other data, or without what no check reads."""

    @property
    def raw(self) -> bytes: ...
    @property
    def data(self) -> bytes | None: ...
    def with_data(self, data: bytes) -> bytes: ...
    def with_only(self, data: bytes) -> RawEvent: ...
    def only_data(self, names: Container[bytes]) -> RawEvent: ...


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """One decoded event; `reading` is None for one without JSON."""

    event: RawEvent
    text: str
    reading: Reading | None
    piece: StreamPiece
    alike: Alike | None = None
    """Of one that was not read, as it is an earlier one but for its text and asides."""

    def saying(self, name: str, text: str) -> Chunk:
        """The same event with other text in the last place of this text stream."""
        assert self.reading is not None
        places = self.reading.places
        number = max(number for number, place in enumerate(places) if place.name == name)
        place = places[number] = msgspec.structs.replace(places[number], text=text)
        written = splice(self.text, {place.path: string_token(text)})
        texts = [*self.piece.texts]
        texts[number] = msgspec.structs.replace(texts[number], text=text)
        return Chunk(
            self.event.with_only(written.encode()),
            written,
            self.reading,
            msgspec.structs.replace(self.piece, texts=tuple(texts)),
        )

    def said(self, name: str) -> str:
        """What this event says in a text stream."""
        return "".join(part.text for part in self.piece.texts if part.location == name)


class SplitNames:
    """Follows the events of one stream that are not yet taken, from the oldest to the newest."""

    def __init__(self, chunks: deque[Chunk]) -> None:
        self._chunks = chunks
        self._open: dict[str, int] = {}
        """Names that may go on, with the number of the event that holds each."""
        self.taken = 0
        """Events that are out."""

    def join(self) -> None:
        """Names that the newest event goes on with are joined in the event that began them. Raises FormatError."""
        last = self._chunks[-1]
        if last.reading is None:
            if last.piece.final or last.alike is not None:
                self._open.clear()
            return
        going_on = False
        for name in last.reading.names if self._open else ():
            if name not in self._open:
                continue
            at = self._open[name] - self.taken
            if (said := last.said(name)) != (before := self._chunks[at].said(name)):
                if len(before) + len(said) > MAX_NAME:
                    raise malformed("a name has no end")
                going_on = True
                self._chunks[at] = self._chunks[at].saying(name, before + said)
                self._chunks[-1] = self._chunks[-1].saying(name, "")
        if not going_on:
            self._open.clear()
        for name in last.reading.names:
            self._open.setdefault(name, self.taken + len(self._chunks) - 1)

    def end(self) -> None:
        """No name goes on any more."""
        self._open.clear()

    def whole(self) -> int:
        """So many of the oldest events hold nothing that may go on."""
        if not self._open:
            return len(self._chunks)
        return min(self._open.values()) - self.taken
