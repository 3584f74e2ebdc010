"""Server-sent events as bytes: an incremental splitter that keeps every event's own bytes, and re-encoding of its data.

Knows nothing of what events carry. Events end with a blank line; lines end with LF, CRLF or CR.
"""

from __future__ import annotations

import re
from collections.abc import Container

import msgspec

MAX_EVENT_BYTES = 1_048_576
MAX_WHOLE_BYTES = 4 * MAX_EVENT_BYTES
"""Where an event holds a whole answer or a picture, and not the next few words."""

# The first line end must not be the CR of a CRLF, or half of one line end would count as a blank line.
_BOUNDARY = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")
_NAMED = re.compile(rb"event: ([a-z_.]+)\ndata: ([^\r\n]*)\n\n")
_LINE = re.compile(rb"([^\r\n]*)(\r\n|\n|\r|\Z)")


class Event(msgspec.Struct, frozen=True, gc=False):
    """One event: its bytes as they came, and its data lines joined (None if it has none, as comments)."""

    raw: bytes
    data: bytes | None
    name: bytes | None = None
    """Where it is two lines, its name and its data, as some protocols write every event."""

    plain: bool = False
    """Nothing but its data in one line, as most engines write it."""

    def with_data(self, data: bytes) -> bytes:
        """The event with other data; id, event name, comments and their order stay."""
        if b"\n" not in data and (self.plain or self.name is not None):
            return encode(data, self.name or b"")
        out = bytearray()
        written = False
        for line, ending in _lines(self.raw):
            if _split(line)[0] != b"data":
                out += line + ending
            elif not written:
                written = True
                for piece in data.split(b"\n"):
                    out += b"data: " + piece + (ending or b"\n")
        return bytes(out)

    def with_only(self, data: bytes) -> Event:
        """An event that says this in place of its own data."""
        return Event(self.with_data(data), data, self.name, self.plain and b"\n" not in data)

    def only_data(self, names: Container[bytes]) -> Event:
        """The event without what no check reads: comments, ids and whatever else clients are told beside the data.

        Of the event's name only one of these stays; of a comment alone the sign of life.
        """
        if self.plain or (self.name is not None and self.name in names):
            return self
        lines = [line for line, _ in _lines(self.raw)]
        if all(_harmless(line, names) for line in lines):
            return self
        if self.data is None:
            return Event(b":\n\n" if any(line.startswith(b":") for line in lines) else b"", None)
        named = [value for name, value in map(_split, lines) if name == b"event" and value in names]
        head = b"event: " + named[-1] + b"\n" if named else b""
        return Event(
            head + b"".join(b"data: " + line + b"\n" for line in self.data.split(b"\n")) + b"\n", self.data
        )


class EventSplitter:
    """Bytes in, whole events out. `over`: one event is larger than the limit; what came before it was given."""

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._max = max_event_bytes
        self.over = False

    def feed(self, chunk: bytes, *, end: bool) -> list[Event]:
        """Events that are whole now. At the end an unfinished one counts too: lenient clients read it."""
        if not self._buffer and len(chunk) <= self._max and (event := _only(chunk)) is not None:
            return [event]
        self._buffer += chunk
        events: list[Event] = []
        done = 0
        position = self._searched
        while match := _BOUNDARY.search(self._buffer, position):
            if match.end() == len(self._buffer) and self._buffer.endswith(b"\r") and not end:
                break
            if match.end() - done > self._max:
                self.over = True
                return events
            events.append(_event(bytes(self._buffer[done : match.end()])))
            done = position = match.end()
        del self._buffer[:done]
        self._searched = max(0, len(self._buffer) - 3)
        self.over = len(self._buffer) > self._max
        if end and self._buffer and not self.over:
            events.append(_event(bytes(self._buffer)))
            self._buffer.clear()
            self._searched = 0
        return events

    @property
    def waits(self) -> bool:
        return bool(self._buffer)

    def missing(self, raw: bytes) -> bytes:
        """Line ends up to the blank line, where it is missing."""
        if not raw or any(found.end() == len(raw) for found in _BOUNDARY.finditer(raw, max(0, len(raw) - 4))):
            return b""
        return b"\n" if raw.endswith(b"\n") else b"\n\n"


def encode(data: bytes, name: bytes = b"") -> bytes:
    """An event of our own."""
    head = b"event: " + name + b"\n" if name else b""
    return head + b"data: " + data + b"\n\n"


def _event(raw: bytes) -> Event:
    if (event := _only(raw)) is not None:
        return event
    fields = (_split(line) for line, _ in _lines(raw))
    data = [value for name, value in fields if name == b"data"]
    return Event(raw, b"\n".join(data) if data else None)


def _only(raw: bytes) -> Event | None:
    """The event where it is exactly one, of one line of data, with at most a name before it: as most engines write them and
    most often send them.
    """
    if raw.startswith(b"data: "):
        if raw.endswith(b"\n\n") and raw.find(b"\n") == len(raw) - 2 and b"\r" not in raw:
            return Event(raw, raw[6:-2], None, True)
        return None
    named = _NAMED.fullmatch(raw)
    return None if named is None else Event(raw, named[2], named[1])


def _lines(raw: bytes) -> list[tuple[bytes, bytes]]:
    return [(line, ending) for line, ending in _LINE.findall(raw) if line or ending]


def _harmless(line: bytes, names: Container[bytes]) -> bool:
    """Whether a line is data, a sign of life, the end, or one of these event names, without a byte order mark."""
    name, value = _split(line)
    known = name == b"data" or (name == b"event" and value in names)
    return line in {b"", b":"} or (known and line.startswith(name))


def _split(line: bytes) -> tuple[bytes, bytes]:
    """A line's field name and value; a byte order mark before the first one is not part of it, a comment has no name."""
    name, _, value = line.removeprefix(b"\xef\xbb\xbf").partition(b":")
    return name, value.removeprefix(b" ")
