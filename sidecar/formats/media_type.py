"""Content types as formats judge them: which are JSON, and that they leave no doubt about their charset."""

from __future__ import annotations

import re

from sidecar.formats.base import FormatError
from sidecar.model.decision import Cause

_TOKEN = r"[a-z0-9!#$%&'+.^_`|~-]+"
_PARAMETER = re.compile(rf'({_TOKEN})=({_TOKEN}|"[^"\\;,\x00-\x1f]*")')
_CHARSETS = frozenset({"utf-8", '"utf-8"'})


def kind(content_type: str) -> str:
    """The lower-case type, without parameters."""
    return content_type.partition(";")[0].strip(" \t").lower()


def is_json(kind: str) -> bool:
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def is_event_stream(content_type: str) -> bool:
    """Whether it is server-sent events in UTF-8, the only charset that they have."""
    return kind(content_type) == "text/event-stream" and is_utf8(content_type)


def is_utf8(content_type: str) -> bool:
    """Whether every reader takes it for UTF-8: at most one charset, nothing that readers split in different ways."""
    names: set[str] = set()
    for parameter in content_type.lower().split(";")[1:]:
        if not (stripped := parameter.strip(" \t")):
            continue
        match = _PARAMETER.fullmatch(stripped)
        if match is None or match[1] in names or (match[1] == "charset" and match[2] not in _CHARSETS):
            return False
        names.add(match[1])
    return True


def demand_json(content_type: str) -> None:
    """Raises FormatError UNSUPPORTED_MEDIA_TYPE unless it is JSON in UTF-8."""
    if not is_json(kind(content_type)):
        raise FormatError(Cause.UNSUPPORTED_MEDIA_TYPE, "content type is not JSON")
    if not is_utf8(content_type):
        raise FormatError(Cause.UNSUPPORTED_MEDIA_TYPE, "charset is not UTF-8")
