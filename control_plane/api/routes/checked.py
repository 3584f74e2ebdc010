"""Names that arrive in a path, checked before they become names of things."""

from __future__ import annotations

import re

from bartizan.errors import InvalidInput, Problem

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)


def label(text: str, what: str) -> str:
    """An RFC 1123 label. Raises InvalidInput."""
    if _LABEL.fullmatch(text) is None:
        message = "expected lower-case letters, digits and dashes, at most 63"
        raise InvalidInput(
            f"not a name of a {what}", [Problem(path=what, code="invalid_value", message=message)]
        )
    return text
