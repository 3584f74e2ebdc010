"""JSON texts inside strings, such as a tool call's arguments: what a reader of them sees.

They are decoded, so that no escape hides a text; edits go into them and they stay JSON. Streamed ones are in
streamed_json.py.
"""

from __future__ import annotations

import re

from sidecar.formats.base import FormatError
from sidecar.formats.documents import TextAt
from sidecar.formats.json_text import Path, decode
from sidecar.formats.walk import scalars

_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|([^u])|(?:u[0-9a-fA-F]{0,3})?\Z)", re.DOTALL)
_PLAIN = {'"': '"', "\\": "\\", "/": "/", "b": " ", "f": " ", "n": "\n", "r": "\r", "t": "\t"}


def embedded_texts(text: str, path: Path, root: str, role: str, max_depth: int) -> list[TextAt]:
    """The keys, strings and long numbers of a JSON text, then all of it (a rule may look at key and value
    together); of another text the one text that it may be read as.
    """
    try:
        _, value = decode(text.encode(), max_depth=max_depth)
    except FormatError:
        return [TextAt(path, written_out(text), role, root)]
    if isinstance(value, str):
        return [TextAt(path, value, role, root, embedded=text, inner=())]
    inside = [
        TextAt(path, found, role, f"{root}#{number}", embedded=text, inner=inner)
        for number, (inner, found) in enumerate(scalars(value), 1)
    ]
    return [*inside, TextAt(path, text, role, root, embedded=text)]


def written_out(text: str) -> str:
    """A text with its escapes as the characters that they stand for, as a lenient reader may take it."""
    return _ESCAPE.sub(_written, text)


def _written(escape: re.Match[str]) -> str:
    if escape[1]:
        char = chr(int(escape[1], 16))
        return escape[0] if "\ud800" <= char <= "\udfff" else char
    return _PLAIN.get(escape[2] or "", escape[0])
