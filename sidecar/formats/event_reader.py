"""What event_stream.py asks of one protocol: how its bytes are split into events, and what it says in them."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any, Protocol

from sidecar.formats.base import TextPart
from sidecar.formats.json_text import Path
from sidecar.formats.reading import Reading
from sidecar.formats.same_shape import Asides
from sidecar.formats.split_names import RawEvent


class Splitter(Protocol):
    """Bytes in, whole events out. `over`: the next one is too large, so that none follows."""

    over: bool

    @property
    def waits(self) -> bool:
        """Whether it holds bytes of which no event was made yet."""

    def feed(self, chunk: bytes, *, end: bool) -> Sequence[RawEvent]: ...
    def missing(self, raw: bytes) -> bytes:
        """What an event lacks at its end, as the last one of a stream may: whatever follows would be a part of it."""


class EventReader(Protocol):
    """What one protocol says in its events. Holds the state of one stream."""

    @property
    def event_names(self) -> Container[bytes]:
        """SSE event names of the protocol: all others are taken out where texts are checked."""

    @property
    def repeats(self) -> bool:
        """Whether an event that was read needs not be read again with another text: then `read` and `sent` of the second
        would list the same, and change nothing in the reader but by their marks.
        """

    @property
    def asides(self) -> Asides:
        """Members in which such events may differ, too. Strings among them are listed as identifiers, and nowhere else."""

    def again(self, said: Mapping[Path, bytes]) -> Any:
        """The mark of an event that differs from one that was read only in its text and these asides. None: it has no place
        in an order, so that nobody need be told when it goes out.
        """

    def read(self, value: dict[str, Any], reading: Reading) -> None:
        """List what this event holds. Raises FormatError ANSWER_MALFORMED for what can't be."""

    def sent(self, mark: Any) -> Mapping[Path, str]:
        """An event goes out now whose reading had this mark. Returns JSON tokens that must change in it for the protocol's
        own order.
        """

    def unsaid(self) -> Sequence[str]:
        """Text streams of answers that said nothing, now that the stream ends; each once."""

    def closing(self, pending: Sequence[TextPart]) -> bytes:
        """Events that carry held-back text of these text streams."""

    def cut(self, decision_id: str, *, named: bool = True) -> bytes:
        """A valid end of the stream, given what went out; not `named`: without the answer's own identifiers."""

    def fail(self, decision_id: str) -> bytes:
        """The protocol's error in place of it."""
