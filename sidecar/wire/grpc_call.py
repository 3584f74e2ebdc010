"""What one gRPC call is on the wire: what is kept while it runs, and its metadata as handlers see it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import msgspec

from sidecar.wire import grpc_status as status
from sidecar.wire.engine import Call
from sidecar.wire.grpc_frames import BadFrame, MessageReader
from sidecar.wire.http2_seam import Lane

_HIDDEN = frozenset({b"te", b"content-type", b"grpc-timeout", b"grpc-encoding", b"grpc-accept-encoding"})


@dataclass(slots=True)
class Budget:
    """Bytes of incomplete and untaken messages of all connections of one engine."""

    most: int
    now: int = 0

    def account(self, stream: Stream) -> None:
        """Count what a stream's reader holds now."""
        held = 0 if stream.reader is None else len(stream.reader)
        self.now += held - stream.held
        stream.held = held


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One path that is served. `handler` is the UnaryHandler or StreamHandler."""

    name: str
    unary: bool
    handler: Any


class Stream(msgspec.Struct, eq=False):
    """One call that is not answered yet. `owner` belongs to the shell: whoever runs the handler."""

    lane: Lane
    method: Method
    call: Call
    due: float | None
    """Monotonic seconds at which the caller stops waiting."""
    reader: MessageReader | None = None
    unacknowledged: int = 0
    """Bytes that came and for which the peer got no new window yet."""
    held: int = 0
    """The reader's bytes as the budget knows them."""
    ended: bool = False
    """The peer has sent everything."""
    responded: bool = False
    """The first header block of the answer is queued."""
    finished: bool = False
    """Its status is queued, or the stream is gone."""
    owner: Any = None
    timer: Any = None
    """Belongs to the shell, too: rings when nobody waits for the answer any more."""

    def broken(self) -> BadFrame | None:
        """Why a unary call needs no further byte to be refused."""
        if self.reader is None:
            return None
        if self.reader.more_than_one:
            return BadFrame(status.UNIMPLEMENTED, "more than one message")
        return self.reader.fault

    def next_message(self) -> bytes | None:
        """The next message of a streaming call; None when none is there. Raises BadFrame; also for a message that the
        peer's end cut off.
        """
        reader = self.reader
        if reader is None:
            return None
        message = reader.take()
        if message is None:
            if self.ended and len(reader):
                raise BadFrame(status.INTERNAL, "truncated message")
        elif not len(reader) and reader.fault is None:
            self.reader = None  # so that the next one may be handed over without it
        return message

    def only_message(self) -> bytes:
        """The message of a unary call whose peer has sent everything. Raises BadFrame when it is not exactly one."""
        message = self.reader.take() if self.reader is not None else None
        if message is None:
            if self.reader is not None and len(self.reader):
                raise BadFrame(status.INTERNAL, "truncated message")
            raise BadFrame(status.UNIMPLEMENTED, "no message")
        return message


class Shell(Protocol):
    """Who runs the handlers of one connection's calls."""

    def opened(self, stream: Stream) -> None:
        """A streaming call began."""

    def awaited(self, stream: Stream) -> None:
        """A unary call with a deadline began, and its message is not all here yet."""

    def asked(self, stream: Stream, message: bytes) -> bytes | None:
        """A unary call and its message are here. Its good answer if there is one at once."""

    def said(self, stream: Stream, message: bytes) -> bool:
        """A streaming call's message came whole and alone, as nearly all do; False when nobody waits for it."""

    def readable(self, stream: Stream) -> None:
        """A message, or the end of all, came for a streaming call."""

    def gone(self, stream: Stream) -> None:
        """The peer, or a broken rule, ended a call that is not answered."""


class Metadata(Mapping[str, str]):
    """A header block as handlers see it: text, without what is the protocol's own, without binary values.

    Decoded when it is asked for: handlers look at one header of a dozen.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[bytes, bytes]) -> None:
        self._fields = fields

    def get(self, name: str, default: Any = None) -> Any:
        """As `Mapping.get`, but without an exception for what is not there."""
        value = self._fields.get(_key(name))
        return default if value is None else value.decode("latin-1")

    def __getitem__(self, name: str) -> str:
        return self._fields[_key(name)].decode("latin-1")

    def __iter__(self) -> Iterator[str]:
        return (key.decode("latin-1") for key in self._fields if _shown(key))

    def __len__(self) -> int:
        return sum(map(_shown, self._fields))


@lru_cache(maxsize=64)  # handlers ask for the same few
def _key(name: str) -> bytes:
    """As a field is called on the wire; what no field is called, for those that are not shown."""
    key = name.encode("latin-1", "replace")
    return key if _shown(key) else b""


def _shown(key: bytes) -> bool:
    return key[:1] != b":" and key not in _HIDDEN and not key.endswith(b"-bin")
