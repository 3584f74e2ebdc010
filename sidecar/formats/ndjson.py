"""Newline-delimited JSON as bytes: an incremental splitter into lines that can be given other data."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from sidecar.formats.sse import MAX_EVENT_BYTES

MEDIA_TYPES = frozenset({"application/x-ndjson", "application/jsonl", "application/x-jsonlines"})


@dataclass(frozen=True, slots=True)
class Line:
    """One line with its end."""

    raw: bytes

    @property
    def data(self) -> bytes | None:
        return self.raw.strip(b" \t\r\n") or None

    def with_data(self, data: bytes) -> bytes:
        """The line with other data; its end stays."""
        return data + (self.raw[len(self.raw.rstrip(b"\r\n")) :] or b"\n")

    def with_only(self, data: bytes) -> Line:
        return Line(self.with_data(data))

    def only_data(self, names: Container[bytes]) -> Line:  # noqa: ARG002
        """A line holds nothing else."""
        return self


class LineSplitter:
    """Bytes in, whole lines out. `over`: one line is longer than the limit; what came before it was given."""

    def __init__(self, max_line_bytes: int = MAX_EVENT_BYTES) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._max = max_line_bytes
        self.over = False

    def feed(self, chunk: bytes, *, end: bool) -> list[Line]:
        """Lines that are whole now; at the end also one without an end of its own."""
        self._buffer += chunk
        lines: list[Line] = []
        done = 0
        position = self._searched
        while (found := self._buffer.find(b"\n", position)) >= 0:
            if found + 1 - done > self._max:
                self.over = True
                return lines
            lines.append(Line(bytes(self._buffer[done : found + 1])))
            done = position = found + 1
        del self._buffer[:done]
        self._searched = len(self._buffer)
        self.over = len(self._buffer) > self._max
        if end and self._buffer and not self.over:
            lines.append(Line(bytes(self._buffer)))
            self._buffer.clear()
            self._searched = 0
        return lines

    @property
    def waits(self) -> bool:
        return bool(self._buffer)

    def missing(self, raw: bytes) -> bytes:
        """The line's end, where it is missing."""
        return b"" if not raw or raw.endswith(b"\n") else b"\n"
