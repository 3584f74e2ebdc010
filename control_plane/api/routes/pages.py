"""Lists in pages: the query that asks for one, and the cursor of where it ended. Cursors are opaque to callers."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

import msgspec
from msgspec import Meta

from bartizan.errors import InvalidInput, Problem

Place = tuple[float, str]
"""Of a row in a list that is sorted by a time and an id."""


class LongPageQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """cursor: from the page before."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 1000
    cursor: Annotated[str, Meta(max_length=256)] = ""


def cursor_of(place: Place | None) -> str:
    """The cursor that leads on from there; "" for None, the end."""
    return "" if place is None else base64.urlsafe_b64encode(msgspec.json.encode(place)).decode()


def place_of(cursor: str) -> Place | None:
    """None for "", the beginning. Raises InvalidInput."""
    if not cursor:
        return None
    try:
        place: Place = msgspec.json.decode(base64.urlsafe_b64decode(cursor), type=Place)
        return place
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        problem = Problem(path="?cursor", code="invalid_value", message="not a cursor of an earlier answer")
        raise InvalidInput("the cursor is wrong", [problem]) from error
