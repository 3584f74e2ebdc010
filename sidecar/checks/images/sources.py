"""From how a body writes a picture to its bytes and back: data URLs, base64, addresses elsewhere. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence

from sidecar.formats.base import ImagePart
from sidecar.formats.magic import without_blanks

_DATA_URL = re.compile(r"data:([a-z0-9.+/-]{1,64});base64,", re.IGNORECASE)
_ADDRESS = re.compile(r"https://([a-z0-9.-]{1,253})(?::443)?(?:[/?][!-~]*)?", re.IGNORECASE)
"""The one form that all readers take alike: no user, no other port, no escapes in the host, no backslash before the path."""


class Unreadable(Exception):
    """The picture can't be had: `kind` names the finding."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


def declared_type(part: ImagePart) -> str:
    """The media type that the body names for it, "" for none."""
    head = _DATA_URL.match(part.written[:128]) if isinstance(part.written, str) else None
    return head[1].lower() if part.form == "url" and head else part.declared.lower()


def bytes_of(part: ImagePart, most: int) -> bytes:
    """Raises Unreadable: too_large, malformed."""
    written = part.written
    if isinstance(written, bytes):
        if len(written) > most:
            raise Unreadable("too_large")
        return written
    text = written
    if part.form == "url":
        head = _DATA_URL.match(written[:128])
        if head is None:
            raise Unreadable("malformed")
        text = written[head.end() :]
    text = without_blanks(text)
    if len(text) // 4 * 3 - 2 > most:
        raise Unreadable("too_large")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        raise Unreadable("malformed") from None
    if len(data) > most:
        raise Unreadable("too_large")
    return data


def written_anew(part: ImagePart, data: bytes) -> str | bytes:
    """These bytes in the form of the part."""
    if isinstance(part.written, bytes):
        return data
    text = base64.b64encode(data).decode("ascii")
    if part.form == "url":
        head = _DATA_URL.match(part.written[:128])
        return f"{head[0] if head else ''}{text}"
    return text


def is_elsewhere(part: ImagePart) -> bool:
    """Whether the body only says where the picture is."""
    return part.form == "stored" or (
        part.form == "url" and isinstance(part.written, str) and part.written[:5].lower() != "data:"
    )


def allowed_elsewhere(part: ImagePart, hosts: Sequence[str]) -> bool:
    """Whether it is an https address of one of these hosts, `*.` before one standing for every host below it."""
    address = _ADDRESS.fullmatch(part.written) if isinstance(part.written, str) else None
    if part.form != "url" or address is None:
        return False
    host = address[1].lower()
    return any(
        host.endswith(allowed[1:].lower()) if allowed.startswith("*.") else host == allowed.lower()
        for allowed in hosts
    )
