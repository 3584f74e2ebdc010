"""Fuzzes the reading of pictures before anybody decodes them: kinds by first bytes, containers, base64 and data URLs.

Any bytes have a kind or none, and a size and an end inside of themselves or are malformed; what a body writes is read
as bytes or refused, and written anew it reads the same.
"""

from __future__ import annotations

import base64

from sidecar.checks.images.containers import READERS, Malformed, read
from sidecar.checks.images.sources import (
    Unreadable,
    allowed_elsewhere,
    bytes_of,
    declared_type,
    is_elsewhere,
    written_anew,
)
from sidecar.formats.base import ImagePart
from sidecar.formats.magic import kind_of, looks_like_picture
from tests.fuzz.program import Program
from tests.support.pictures import KINDS, loaded, picture

_MOST = 4096
_HEADS = (
    "",
    "data:image/png;base64,",
    "data:;base64,",
    "DATA:image/x;BASE64,",
    "data:text/html,",
    "https://a.example/",
)


def one_input(data: bytes) -> None:
    """Its first bytes: which reader, and how the picture is written; then the picture."""
    program = Program(data)
    kind, head, form = (
        program.choice(sorted(READERS)),
        program.choice(_HEADS),
        program.choice(("url", "base64")),
    )
    raw = program.flag()
    body = program.rest()
    container(kind, body)
    container(kind_of(body), body)
    source(head, form, body.decode("latin-1") if raw else base64.b64encode(body).decode())


def container(kind: str, body: bytes) -> None:
    """What the bytes say of themselves."""
    if kind not in READERS:
        return
    try:
        found = read(kind, body)
    except Malformed:
        return
    assert found.width > 0
    assert found.height > 0
    assert found.frames > 0
    assert 0 < found.end <= len(body)
    assert read(kind, body[: found.end]) == found, "what stands behind its end changes it"


def source(head: str, form: str, written: str) -> None:
    """A place of a body."""
    text = head + written
    assert looks_like_picture(text) in {True, False}
    part = ImagePart(location="x", kind="image_url", form=form, written=text)  # type: ignore[arg-type]
    declared_type(part)
    allowed_elsewhere(part, ("a.example", "*.b.example"))
    if is_elsewhere(part):
        return
    try:
        data = bytes_of(part, _MOST)
    except Unreadable:
        return
    assert len(data) <= _MOST
    again = ImagePart(location="x", kind="image_url", form=part.form, written=written_anew(part, data))
    assert bytes_of(again, _MOST) == data


def seeds() -> list[bytes]:
    """Good pictures of each kind, as they are and as base64."""
    made = []
    for number, kind in enumerate(sorted(READERS)):
        pictures = [
            loaded(kind),
            picture(kind, size=(9, 7)),
            picture(kind, frames=1 if kind == "jpeg" else 3, size=(5, 5)),
        ]
        made += [
            bytes((number, head, head % 2, 0)) + data for data in pictures for head in range(len(_HEADS))
        ]
    assert set(KINDS) == set(READERS)
    return made
