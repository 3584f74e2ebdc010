"""Files in the state folder of a laptop run, which a full disk or an editor may have spoilt: as they should be, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from bartizan.errors import InvalidInput, Problem

Port = Annotated[int, Meta(ge=1, le=65535)]
T = TypeVar("T")

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding may raise."""


def read_state_file(file: Path, kind: type[T], mend: str) -> T:
    """Raises InvalidInput that names the file and how to mend it, but nothing of what it holds; FileNotFoundError."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except UNREADABLE as error:
        why = "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        problem = Problem(path=str(file), code="unusable", message=why, hint=mend)
        raise InvalidInput("the state of the laptop stack can't be read", [problem]) from None
