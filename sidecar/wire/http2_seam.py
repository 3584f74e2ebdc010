"""Between HTTP/2's rules and gRPC's on one connection: what a session tells, and what it is told. Two keep HTTP/2's rules,
http2_session.py (ours) and http2_session_ngh2.py (libnghttp2); http2_connection.py keeps gRPC's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from sidecar.wire import grpc_status as status


class Lane(msgspec.Struct, eq=False):
    """One open HTTP/2 stream, from its first header block until both ends have ended or one has given up."""

    number: int
    window: int = 0
    """Bytes of ours that its peer still takes. Below zero after a change of settings."""
    left: int = -1
    """Bytes that its peer still owes by content-length, -1 where none was said."""
    ended: bool = False
    """The peer has sent everything."""
    call: Any = None
    """What the listener keeps of it. None again when it has ended the call: what still comes is nobody's."""
    gone: bool = False
    spent: int = 0
    """Bytes that came, for which the peer got no new window."""
    taken: int = 0
    """Of them: that were taken."""
    waiting: bytearray | None = None
    """Bytes of our body that are not in a frame yet."""
    end: bytes = b""
    """The frame that follows them and ends our side."""


class Listener(Protocol):
    """Who is told what streams say, while `receive` runs."""

    def requested(self, lane: Lane, headers: status.Headers) -> None:
        """A stream was opened."""

    def called(self, lane: Lane, headers: status.Headers, body: bytes) -> bytes | bool:
        """A stream was opened and its whole body is here. The good answer's message if there is one at once; else whether
        the body was taken, as of `data`.
        """

    def data(self, lane: Lane, data: bytes) -> bool:
        """Bytes of a body. Whether they were taken at once; else `acknowledge` says later when."""

    def trailed(self, lane: Lane) -> None:
        """Trailers ended the peer's side."""

    def lost(self, lane: Lane) -> None:
        """A stream is gone: reset by its peer, or for a broken rule."""

    def ponged(self) -> None:
        """Our ping came back."""


class Session(Protocol):
    """HTTP/2 on one connection, the server's side, sans-I/O. What is said to a stream that is gone is dropped."""

    ready: bool
    """The peer's preface and settings came."""
    leaving: bool
    """The peer opens no more streams."""
    lanes: dict[int, Lane]
    """Open streams."""
    closed: bool
    """Nothing more is read: write what `output` gives and close."""

    def receive(self, data: bytes) -> None:
        """Bytes as they came. A broken rule of one stream resets it, one of the connection closes it."""

    def acknowledge(self, lane: Lane, amount: int) -> None:
        """Bytes of a stream's body were taken: its peer may send as many again."""

    def answer(self, lane: Lane, message: bytes) -> None:
        """The whole good answer of a call with one message."""

    def begin(self, lane: Lane) -> None:
        """The header block of an answer in parts."""

    def say(self, lane: Lane, message: bytes) -> None:
        """One message of an answer; `queued` tells how much of it waits for the peer."""

    def end(self, lane: Lane, headers: status.Headers) -> None:
        """The header block that ends an answer: its trailers, or all of it."""

    def queued(self, lane: Lane) -> int:
        """Bytes of an answer that wait."""

    def output(self) -> bytes:
        """Frames to write now, b"" when there are none."""

    def wants_output(self) -> bool:
        """Whether `output` has something to give."""

    def idle(self) -> bool:
        """Whether no stream is open and nothing waits to be written."""

    def notice(self) -> None:
        """Ask the peer to open no more streams. Its answer to the ping says that it has read that."""

    def refuse_more(self) -> None:
        """Take no more streams."""


Sessions = Callable[[Listener, int], Session]
"""Makes one for a connection that takes so many streams at once."""
