"""A text of several documents, as kubectl takes it: each becomes a text of its own, where it stands in the same lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

# In no text, quoted or of a block, may a line begin with it (YAML 1.2, 9.1.2).
_BEGINS = re.compile(r"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)
_SAYS_NOTHING = re.compile(r"((---)?[ \t]*(#.*)?|\.\.\.[ \t]*|%.*)\r?")


def texts_of(text: str) -> Iterator[str]:
    """Documents that hold nothing are left out. A text without a second one is given as it is."""
    begin = [0, *(found.start() for found in _BEGINS.finditer(text)), len(text)]
    said = [(start, end) for start, end in pairwise(begin) if _says_something(text[start:end])]
    if len(said) < 2:
        yield text
        return
    for start, end in said:
        yield "\n" * text.count("\n", 0, start) + text[start:end]


def _says_something(part: str) -> bool:
    return any(not _SAYS_NOTHING.fullmatch(line) for line in part.split("\n"))
