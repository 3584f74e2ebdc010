"""What a check and its child process say to each other: length-prefixed msgpack over pipes, and the child's end of them."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from typing import BinaryIO, TypeVar

import msgspec

LENGTH = struct.Struct(">I")


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """Base of what goes over the pipes."""


class Ready(Part, frozen=True):
    """A child's first message: "" when it can be asked, or why it can't."""

    error: str = ""


First = TypeVar("First", bound=Part)
Question = TypeVar("Question", bound=Part)


class Unfit(Exception):
    """The child can't do its work: the message goes into the policy's refusal."""


def serve(
    first: type[First], question: type[Question], build: Callable[[First], Callable[[Question], Part]]
) -> None:
    """The child's whole life: what `build` makes of the first message answers questions until standard input ends.

    `build` raises Unfit with the reason when it can't.
    """
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    opening = _read(source)
    if opening is None:
        return
    try:
        answer = build(msgspec.msgpack.decode(opening, type=first))
    except Unfit as error:
        _write(sink, Ready(error=str(error)))
        return
    _write(sink, Ready())
    while (data := _read(source)) is not None:
        _write(sink, answer(msgspec.msgpack.decode(data, type=question)))


def _read(stream: BinaryIO) -> bytes | None:
    head = stream.read(LENGTH.size)
    return stream.read(LENGTH.unpack(head)[0]) if len(head) == LENGTH.size else None


def _write(stream: BinaryIO, message: msgspec.Struct) -> None:
    data = msgspec.msgpack.encode(message)
    stream.write(LENGTH.pack(len(data)) + data)
    stream.flush()
