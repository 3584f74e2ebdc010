"""Streamed answers whose events are JSON objects: framing, strict decoding and edits, the same for every protocol.

What an event of a protocol holds is told by its reader (openai_stream.py, responses_stream.py, anthropic_stream.py,
mcp.py, ollama.py). Where texts are checked, an event is cleaned before anybody sees it: of what no check reads (log
probabilities, token ids) and of all lines that are not its data.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import msgspec

from sidecar.formats.base import FormatError, StreamPiece, TextPart
from sidecar.formats.event_reader import EventReader, Splitter
from sidecar.formats.faults import MODEL_ERROR, take_traces
from sidecar.formats.identifiers import is_new, unseen
from sidecar.formats.json_text import (
    DEFAULT_DEPTH,
    Path,
    decode,
    has_surrogate,
    location,
    splice,
    string_token,
)
from sidecar.formats.openai_fields import UNREADABLE
from sidecar.formats.reading import WHOLE, Reading, malformed
from sidecar.formats.same_shape import Alike, Around, LastShapes
from sidecar.formats.split_names import Chunk, RawEvent, SplitNames
from sidecar.formats.streamed_json import StreamedJson
from sidecar.formats.walk import WHOLE_NUMBERS, take_unreadable
from sidecar.model.decision import Cause

_MAX_STREAMS = 256
_MAX_TEXTS = 2_500
"""Of one event, as of a whole body."""
_PATIENCE = 8
"""So many events, one after the other, that differ from the last one in more than their text end the search for those that
do not.
"""
_MAX_KNOWN = 1_024
"""Identifiers that are remembered; then they are looked at again."""
DONE = b"[DONE]"


def alone(_location: str) -> str:
    """`text_of` of protocols whose clients show each text stream by itself."""
    return ""


class JsonEventStream:
    """AnswerStream over a protocol's reader and a splitter of bytes into events."""

    def __init__(
        self,
        reader: EventReader,
        splitter: Splitter,
        *,
        max_depth: int = DEFAULT_DEPTH,
        conceal: bool = True,
        text_of: Callable[[str], str] = alone,
    ) -> None:
        self.text_of = text_of
        self._reader = reader
        self._splitter = splitter
        self._max_depth = max_depth
        self._conceal = conceal
        self._chunks: deque[Chunk] = deque()
        self._streams: set[str] = set()
        self._json_texts: dict[str, StreamedJson] = {}
        self._known: set[str] = set()
        """Identifiers of events so far."""
        self._names = SplitNames(self._chunks)
        self._shapes = LastShapes(reader.asides, reader.again)
        self._last = b""
        """The event that went out last."""
        self._around: Around | None = None
        """Of the last event, if what came ended with it: then the next one may come alone."""
        self._misses = 0
        self._repeated: tuple[bytes, str] | None = None

    def feed(self, chunk: bytes, *, end: bool) -> None:
        self._around = None
        for event in self._splitter.feed(chunk, end=end):
            self._chunks.append(self._read(event))
            self._names.join()
        if end or self._splitter.over:
            self._names.end()
        if self._splitter.over:
            raise FormatError(Cause.ANSWER_TOO_LARGE, "one event of the stream is too large")
        if self._misses < _PATIENCE and self._chunks and not self._splitter.waits:
            newest = self._chunks[-1]
            self._around = _around(newest)
            self._misses += newest.alike is not None

    def repeated(self, chunk: bytes) -> TextPart | None:
        if self._around is None or self._chunks:
            return None
        part = self._around.part(chunk)
        if part is not None:
            self._repeated = chunk, part.text
            self._misses = 0
        return part

    def events(self) -> Sequence[StreamPiece]:
        whole = self._names.whole()
        if whole == 1:  # as mostly
            return (self._chunks[0].piece,)
        return [chunk.piece for chunk in islice(self._chunks, whole)]

    def unsaid(self) -> tuple[TextPart, ...]:
        return tuple(TextPart(location=name, text="") for name in self._reader.unsaid())

    def take(self, texts: Sequence[str] | None) -> bytes:
        if self._repeated is not None:
            said = self._said_again(*self._repeated, texts)
            self._repeated = None
        else:
            self._names.taken += 1
            said = self._said(self._chunks.popleft(), texts)
        self._last = said or self._last
        return said

    def _said_again(self, raw: bytes, text: str, texts: Sequence[str] | None) -> bytes:
        assert self._around is not None
        return raw if texts is None or texts[0] == text else self._around.written(texts[0])

    def _said(self, chunk: Chunk, texts: Sequence[str] | None) -> bytes:
        if (alike := chunk.alike) is not None:
            moved = self._reader.sent(alike.mark)
            text = alike.text if texts is None else texts[0]
            if text == alike.text and not moved:
                return chunk.event.raw
            if not text.isascii() and has_surrogate(text):
                raise ValueError("text that UTF-8 can't carry")
            return chunk.event.with_data(alike.written(text, moved))
        if chunk.reading is None:
            return chunk.event.raw
        reading = chunk.reading
        edits = dict(self._reader.sent(reading.mark))
        said = [place.text for place in reading.places] if texts is None else texts
        if any(has_surrogate(text) for text in said):
            raise ValueError("text that UTF-8 can't carry")
        for place, text in zip(reading.places, said, strict=True):
            if encoded := reading.encoded.get(place.path):
                written = encoded.json_text.write(text)
                if not (encoded.whole and text == place.text) and written != encoded.raw:
                    edits[place.path] = string_token(written)
            elif text != place.text:
                edits[place.path] = string_token(text)
        if not edits:
            return chunk.event.raw
        return chunk.event.with_data(splice(chunk.text, edits).encode())

    def closing(self, pending: Sequence[TextPart]) -> bytes:
        said = [
            msgspec.structs.replace(part, text=self._json_texts[part.location].write(part.text))
            if part.location in self._json_texts
            else part
            for part in pending
        ]
        return self._after(self._reader.closing(said))

    def cut(self, decision_id: str, *, named: bool = True) -> bytes:
        return self._after(self._reader.cut(decision_id, named=named))

    def fail(self, decision_id: str) -> bytes:
        return self._after(self._reader.fail(decision_id))

    def _after(self, added: bytes) -> bytes:
        """Events of our own, once the last one has ended that went out."""
        if not added:
            return b""
        missing, self._last = self._splitter.missing(self._last), b""
        return missing + added

    def _read(self, event: RawEvent) -> Chunk:
        if self._conceal:
            event = event.only_data(self._reader.event_names)
        data = event.data
        if data is not None and (alike := self._shapes.find(data)) is not None:  # as mostly
            identifiers = self._asides(alike) if alike.shape.strings and self._conceal else ()
            return Chunk(event, "", None, alike.shape.piece(alike.text, identifiers), alike)
        if data is None or not data.strip():
            return Chunk(event, "", None, StreamPiece(texts=()))
        if data.strip() == DONE:
            return Chunk(event, "", None, StreamPiece(texts=(), final=True, objects=self.unsaid()))
        try:
            text, value = decode(data, max_depth=self._max_depth)
        except FormatError as error:
            raise malformed(error.detail) from None
        if not isinstance(value, dict):
            raise malformed("an event is not an object")
        unreadable = take_unreadable(value, UNREADABLE)
        traces = take_traces(value)
        taken = {**({at: "null" for at, _ in unreadable} if self._conceal else {}), **traces}
        if taken:
            text = splice(text, taken)
            event = event.with_only(text.encode())
        reading = Reading(self._json_texts)
        self._reader.read(value, reading)
        if reading.final:
            reading.unsaid(self._reader.unsaid())
        reading.end()
        self._streams.update(place.name for place in reading.places if not place.name.startswith(WHOLE))
        if len(self._streams) > _MAX_STREAMS:
            raise malformed("too many text streams")
        if len(reading.places) > _MAX_TEXTS:
            raise FormatError(Cause.ANSWER_TOO_LARGE, "too many texts in one event")
        passed = [name for _, name in unreadable if not self._conceal or name == WHOLE_NUMBERS]
        piece = StreamPiece(
            texts=tuple(
                TextPart(
                    location=place.name,
                    text=place.text,
                    role=place.role or "assistant",
                    written=reading.is_json(place.path),
                    joins=place.joins,
                )
                for place in reading.places
            ),
            objects=tuple(reading.objects),
            identifiers=self._identifiers(value, reading) if self._conceal else (),
            final=reading.final,
            finished=tuple(reading.finished),
            unscanned=tuple(dict.fromkeys((*reading.unscanned, *passed, *[MODEL_ERROR] * bool(traces)))),
            joined=tuple(map(tuple, reading.joined.values())),
            whole=reading.indivisible,
        )
        plain = not (reading.names or reading.ids or reading.encoded or taken)
        if self._reader.repeats and len(reading.places) == 1 and plain:
            (place,) = reading.places
            if not place.names:
                known = msgspec.structs.replace(piece, identifiers=())
                self._shapes.learn(text, value, place.path, known, reading.mark)
        return Chunk(event, text, reading, piece)

    def _asides(self, alike: Alike) -> tuple[TextPart, ...]:
        """Identifiers of an event that was not read: it can have new ones in its asides alone."""
        new = [(at, text, False) for at, text in alike.words() if is_new(text, self._known)]
        return self._told(new, lambda _at: "") if new else ()

    def _identifiers(self, value: dict[str, Any], reading: Reading) -> tuple[TextPart, ...]:
        """Strings of an event that are none of its texts and that no event before it had: most repeat the same ones.

        An id of a call is told again, since clients may join it with itself.
        """
        # what is a text in base64 is read as it stands, too: a word may be put there
        coded = {place.path for place in reading.places if place.coded is not None}
        listed = {place.path: place.text for place in reading.places if place.path not in coded}
        listed.update((at, encoded.raw) for at, encoded in reading.encoded.items() if at not in coded)
        new = unseen(value, self._known, listed)
        found = [(at, text, False) for text, at in new.items()]
        found += [(at, text, True) for at, text in reading.ids if at not in listed and new.get(text) != at]
        return self._told(found, reading.joins) if found else ()

    def _told(
        self, found: Sequence[tuple[Path, str, bool]], joins: Callable[[Path], str]
    ) -> tuple[TextPart, ...]:
        if len(self._known) > _MAX_KNOWN:
            self._known.clear()
        self._known.update(text for _, text, _ in found)
        return tuple(
            TextPart(
                location=location(at),
                text=text,
                role="assistant",
                identifier=True,
                again=again,
                joins=joins(at),
            )
            for at, text, again in found
        )


def _around(chunk: Chunk) -> Around | None:
    """What the next event would repeat of this one, which has been read and stands as it came."""
    event, alike = chunk.event, chunk.alike
    data = event.data
    if alike is None or data is None or event.raw.count(data) != 1 or b"\n" in data:
        return None
    return alike.around(event.raw, data) if event.with_data(data) == event.raw else None
