"""What validators of complete texts share: how long one may be, and how it is read."""

from __future__ import annotations

from typing import Any

from sidecar.formats.base import FormatError
from sidecar.formats.json_text import decode

MAX_WHOLE = 256 * 1024
"""Characters of one text that is judged by a schema: so many a stream may keep, and a longer one does not fit."""


def read_json(text: str) -> tuple[bool, Any]:
    """Whether the text is JSON that all readers read alike, and its value."""
    try:
        return True, decode(text.encode("utf-8", "replace"))[1]
    except FormatError:
        return False, None
