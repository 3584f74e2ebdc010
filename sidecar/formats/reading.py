"""What one event of a streamed answer holds, as a protocol's reader lists it for event_stream.py."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Container, Sequence
from typing import Any

import msgspec

from sidecar.formats.base import FormatError, TextPart
from sidecar.formats.coded_text import CodedText
from sidecar.formats.documents import TextAt, strings
from sidecar.formats.json_text import Path, location
from sidecar.formats.openai_fields import WORDS
from sidecar.formats.streamed_json import StreamedJson
from sidecar.model.decision import Cause

MAX_INDEX = 127
_OTHER = "other"
WHOLE = f"{_OTHER}#"
"""Names of texts that are whole in their event begin so."""


class Encoded(msgspec.Struct, frozen=True, gc=False):
    """A piece of a JSON text, or a text in base64: the way back from its view, what the bytes say, and whether no escape is cut in two."""

    json_text: StreamedJson | CodedText
    raw: str
    whole: bool


class Reading:
    """What one event holds, filled by a protocol's reader."""

    def __init__(self, json_texts: dict[str, StreamedJson]) -> None:
        self._json_texts = json_texts
        self.places: list[TextAt] = []
        self.objects: list[TextPart] = []
        self.names: list[str] = []
        """Text streams that are names: the next event may go on with one."""
        self.ids: list[tuple[Path, str]] = []
        """Identifiers that clients may join with those of other events."""
        self.indexed: dict[Path, str] = {}
        """Where parts of this event stand by the protocol's own indexes."""
        self.finished: list[str] = []
        """Prefixes of text streams that end with this event."""
        self.encoded: dict[Path, Encoded] = {}
        """Places whose text is a view of a JSON text."""
        self.unscanned: dict[str, None] = {}
        self.final = False
        self.indivisible = False
        """It makes no sense with a part of its texts."""
        self.mark: Any = None
        """The reader's own, given back to it when the event goes out."""
        self.joined: defaultdict[str, list[int]] = defaultdict(list)
        """Places, by number, of parts of one text."""
        self._others = 0

    def text(self, value: Any, path: Path, name: str) -> None:
        """The next piece of the text stream `name`."""
        if isinstance(value, str):
            if value:
                self.places.append(TextAt(path, value, name=name))
        elif value is not None:
            raise malformed(f"{path[-1]} is not a string")

    def name(self, value: Any, path: Path, name: str) -> None:
        """A name, which nobody may see a part of: event_stream.py waits until it is whole, so it ends here."""
        self.text(value, path, name)
        if value:
            self.places[-1] = msgspec.structs.replace(self.places[-1], joins=self.joins(path))
            self.names.append(name)
        self.finished.append(name)

    def json_text(self, value: Any, path: Path, name: str) -> None:
        """The next piece of a JSON text that is streamed as a string."""
        if isinstance(value, str) and value:
            self._view(self._json_texts.setdefault(name, StreamedJson()), value, path, name)
        elif value is not None and not isinstance(value, str):
            raise malformed(f"{path[-1]} is not a string")

    def call(self, value: Any, name: str) -> None:
        """A JSON object that is whole in this event and calls a tool; its texts are listed beside it."""
        self.objects.append(TextPart(location=name, text=json.dumps(value, ensure_ascii=False)))

    def unsaid(self, names: Sequence[str]) -> None:
        """Answers end here that said nothing: validators see an empty text of each."""
        self.objects += [TextPart(location=name, text="") for name in names]

    def rest(self, value: Any, path: Path, *, known: bool = False, words: Container[str] = WORDS) -> None:
        """Strings that are whole in this event, or of whose way over events nothing is known: then it says so."""
        for place in strings(value, path, _OTHER, known=words) if value else ():
            if place.text:
                self._others += 1
                name, joins = (
                    f"{_OTHER}#{self._others}",
                    "" if place.names else self.joins(place.path) or location(place.path),
                )
                self.places.append(msgspec.structs.replace(place, name=name, joins=joins))
                if not known:
                    self.unscanned["unknown_field"] = None

    def whole(self, places: Sequence[TextAt], path: Path) -> None:
        """Texts that are whole in this event, as a document reader found them below `path`."""
        self.indivisible = self.indivisible or bool(places)
        for place in places:
            if place.identifier:
                continue
            if place.embedded and place.inner:
                continue  # a part of a JSON text, which is read as one, like its deltas
            self._others += 1
            at, name = (*path, *place.path), f"{_OTHER}#{self._others}"
            if place.coded is not None:
                written = place.coded.write(place.text)
                self.encoded[at] = Encoded(place.coded, written, whole=True)
            if place.embedded:
                self._view(StreamedJson(), place.embedded, at, name, place.role)
            else:
                if place.joins:
                    self.joined[place.joins].append(len(self.places))
                self.places.append(TextAt(at, place.text, place.role, name))

    def _view(self, json_text: StreamedJson, value: str, path: Path, name: str, role: str = "") -> None:
        began_whole = json_text.whole
        view = json_text.read(value)
        self.encoded[path] = Encoded(json_text, value, whole=began_whole and json_text.whole)
        self.places.append(TextAt(path, view, role, name))

    def joins(self, path: Path) -> str:
        """Where clients join what stands at this path with what other events have there; "" where they don't."""
        for length in range(len(path), 0, -1) if self.indexed else ():
            if (index := self.indexed.get(path[:length])) is not None:
                return f"{index} {location(path[length:])}"
        return ""

    def is_json(self, path: Path) -> bool:
        """Whether the text there is a view of a JSON text, with its escapes."""
        encoded = self.encoded.get(path)
        return encoded is not None and not encoded.json_text.plain

    def end(self) -> None:
        """Called last."""
        if self._others:
            self.finished.append(WHOLE)


def index_of(value: Any, position: int) -> int:
    """A protocol's own index of a choice, block or call; by position where it is not given."""
    index = position if value is None else value
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index <= MAX_INDEX:
        raise malformed("an index is out of range")
    return index


def malformed(detail: str) -> FormatError:
    """Whatever is wrong with an event is the model's fault."""
    return FormatError(Cause.ANSWER_MALFORMED, detail)
