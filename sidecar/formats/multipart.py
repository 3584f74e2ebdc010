"""multipart/form-data (RFC 7578), read strictly: whole bodies in, parts with their places out. Sans-I/O.

Readers differ in what they forgive: bare line feeds, text before the first boundary, folded headers, several names. A
body that needs forgiving is refused, so that guard and model see the same parts. They differ, too, in what makes a part
a file, its name or its type: a part where the two disagree is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sidecar.formats.base import FormatError
from sidecar.model.decision import Cause

MOST_PARTS = 128
_MOST_HEAD = 2048
_TYPE = re.compile(
    r'multipart/form-data[ \t]*;[ \t]*boundary=(?:([0-9A-Za-z\'+_.-]{1,70})|"([0-9A-Za-z\'()+_,./:=?-]{1,70})")[ \t]*',
    re.IGNORECASE,
)
_HEADER = re.compile(rb"([A-Za-z-]{1,64}):[ \t]*([^\x00-\x1f\x7f]*?)[ \t]*")
_DISPOSITION = re.compile(rb'form-data; ?name="([^"\\]*)"(?:; ?filename="([^"\\]*)")?', re.IGNORECASE)
_PLAIN = frozenset({"", "text/plain", "text/plain;charset=utf-8", 'text/plain;charset="utf-8"'})


@dataclass(frozen=True, slots=True, kw_only=True)
class FormPart:
    """One field or file. Its content is body[start:end], its file name body[name_start:name_end]."""

    name: str
    start: int
    end: int
    media_type: str = ""
    filename: str | None = None
    name_start: int = 0
    name_end: int = 0

    @property
    def is_file(self) -> bool:
        """By its file name alone, as most readers have it."""
        return self.filename is not None


def is_form(content_type: str) -> bool:
    return content_type.partition(";")[0].strip(" \t").lower() == "multipart/form-data"


def delimiter_of(content_type: str) -> bytes:
    """What stands before each part and may stand nowhere else. Raises FormatError."""
    match = _TYPE.fullmatch(content_type.strip(" \t"))
    if match is None:
        raise FormatError(Cause.UNSUPPORTED_MEDIA_TYPE, "no single plain boundary")
    return b"--" + (match[1] or match[2]).encode("ascii")


def read_form(delimiter: bytes, body: bytes) -> list[FormPart]:
    """Every part in order. Raises FormatError."""
    if not body.startswith(delimiter + b"\r\n"):
        raise _malformed("does not begin with its boundary")
    starts = [found.end() for found in re.finditer(re.escape(delimiter), body)]
    if len(starts) > MOST_PARTS + 1:
        raise _malformed("too many parts")
    *between, last = starts
    if body[last:] not in {b"--", b"--\r\n"}:
        raise _malformed("does not end with its boundary")
    parts: list[FormPart] = []
    for start, following in zip(between, starts[1:], strict=True):
        end = following - len(delimiter) - 2
        if body[start : start + 2] != b"\r\n" or body[end : end + 2] != b"\r\n" or end < start:
            raise _malformed("a boundary that stands on no line of its own")
        parts.append(_part(body, start + 2, end))
    return parts


def _part(body: bytes, start: int, end: int) -> FormPart:
    head_end = body.find(b"\r\n\r\n", start, min(end, start + _MOST_HEAD) + 4)
    if head_end < 0 or head_end + 4 > end:
        raise _malformed("a part without an end of its headers")
    found: dict[str, tuple[int, bytes]] = {}
    at = start
    for line in body[start:head_end].split(b"\r\n"):
        header = _HEADER.fullmatch(line)
        if header is None or (name := header[1].decode("ascii").lower()) in found:
            raise _malformed("a header that is none, or stands twice")
        found[name] = (at + header.start(2), header[2])
        at += len(line) + 2
    if found.keys() - {"content-disposition", "content-type"}:
        raise _malformed("a header that forms don't have")
    place, value = found.get("content-disposition", (0, b""))
    disposition = _DISPOSITION.fullmatch(value)
    if disposition is None:
        raise _malformed("no plain name of a field")
    has_file = disposition[2] is not None
    media_type = _text(found.get("content-type", (0, b""))[1]).lower().replace(" ", "")
    if not has_file and media_type not in _PLAIN:
        raise _malformed(
            "a field of a type that is not text/plain; leave the type out, or give a file its name"
        )
    if disposition[2] == b"" and head_end + 4 < end:
        raise _malformed("a file of an empty name")  # to some readers it is a field
    return FormPart(
        name=_text(disposition[1]),
        start=head_end + 4,
        end=end,
        media_type=media_type,
        filename=_text(disposition[2]) if has_file else None,
        name_start=place + disposition.start(2) if has_file else 0,
        name_end=place + disposition.end(2) if has_file else 0,
    )


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise _malformed("not valid UTF-8") from None


def _malformed(detail: str) -> FormatError:
    return FormatError(Cause.MALFORMED_BODY, f"form: {detail}")
