"""Input of a scan, line by line in bounded memory: what a line says, or why it can't be read.

A line is a JSON object: `{"text": …}`, or a request's body in the format of the policy (or the one given by name).
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import msgspec

from sidecar.formats.base import Document, Format, FormatError

MAX_LINE: Final = 16 * 1024 * 1024
"""Bytes of one line; a longer one is named and skipped."""
_PIECE: Final = 1 << 16
_SOURCES: Final = ("source", "tenant", "user", "key_id", "source_address", "ip")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """`text` or `document` is set, or `fault` says why neither could be read."""

    index: int
    source: str = ""
    text: str | None = None
    document: Document | None = None
    fault: str = ""


class Reader:
    """Reads lines of one format. `source_field` names the member that says where a prompt came from."""

    def __init__(self, format: Format, path: str, source_field: str = "") -> None:  # noqa: A002 - the house's word
        self._format = format
        self._path = path
        self._sources = (source_field,) if source_field else _SOURCES

    def read(self, index: int, line: bytes) -> Line:
        """Never raises: a scan goes on after a line that can't be read."""
        if len(line) > MAX_LINE:
            return Line(index=index, fault=f"longer than {MAX_LINE >> 20} MiB")
        if not line.strip():
            return Line(index=index, fault="an empty line")
        try:
            value = msgspec.json.decode(line)
        except UnicodeDecodeError as error:  # none of msgspec's own errors
            return Line(index=index, fault=f"not UTF-8: {error.reason}")
        except (msgspec.DecodeError, RecursionError) as error:
            return Line(index=index, fault=f"not JSON: {error}")
        if not isinstance(value, dict):
            return Line(index=index, fault='not an object: wanted {"text": …} or a request\'s body')
        source = self._source(value)
        if isinstance(text := value.get("text"), str) and not self._is_body(value):
            return Line(index=index, source=source, text=text)
        try:
            document = self._format.decode_request(self._path, "application/json", line.strip())
        except FormatError as error:
            return Line(
                index=index, source=source, fault=f"no text and no {self._format.name} body: {error.detail}"
            )
        return Line(index=index, source=source, document=document)

    def _is_body(self, value: dict[str, Any]) -> bool:
        """A body may have a member "text" of its own; the members of a chat say that it is one."""
        return "messages" in value

    def _source(self, value: dict[str, Any]) -> str:
        for name in self._sources:
            found = value.get(name)
            if isinstance(found, (str, int)) and not isinstance(found, bool):
                return str(found)[:128]
        return ""


def lines(stream: BinaryIO) -> Iterator[bytes]:
    """Lines without their ends. Of one that is too long only so much is kept that its length shows.

    A byte order mark at the beginning is the file's, not the first line's.
    """
    first = True
    while line := stream.readline(MAX_LINE + 1):
        if len(line) > MAX_LINE and not line.endswith(b"\n"):
            while (rest := stream.readline(_PIECE)) and not rest.endswith(b"\n"):
                pass
        yield (line.removeprefix(BOM_UTF8) if first else line).rstrip(b"\r\n")
        first = False
