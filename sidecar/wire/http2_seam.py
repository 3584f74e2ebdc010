"""Between HTTP/2's rules and gRPC's on one connection: what a session tells, and what it is told. Two keep HTTP/2's rules,
http2_session.py (ours) and http2_session_ngh2.py (libnghttp2); http2_connection.py keeps gRPC's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from sidecar.wire import grpc_status as status


class Listener(Protocol):
    """Who is told what streams say, while `receive` runs."""

    def requested(self, number: int, headers: status.Headers, *, ended: bool) -> None:
        """A stream was opened."""

    def data(self, number: int, data: bytes, *, ended: bool) -> None:
        """Bytes of a body. All are given back by `acknowledge`."""

    def trailed(self, number: int) -> None:
        """Trailers ended the peer's side."""

    def lost(self, number: int) -> None:
        """A stream that was open is gone: reset by its peer, or for a broken rule."""

    def ponged(self) -> None:
        """Our ping came back."""


class Session(Protocol):
    """HTTP/2 on one connection, the server's side, sans-I/O. What is said to a stream that is gone is dropped."""

    ready: bool
    """The peer's preface and settings came."""
    leaving: bool
    """The peer opens no more streams."""
    closed: bool
    """Nothing more is read: write what `output` gives and close."""

    def receive(self, data: bytes) -> None:
        """Bytes as they came. A broken rule of one stream resets it, one of the connection closes it."""

    def acknowledge(self, number: int, amount: int) -> None:
        """Bytes of a stream's body were taken: its peer may send as many again."""

    def answer(self, number: int, message: bytes) -> None:
        """The whole good answer of a call with one message."""

    def begin(self, number: int) -> None:
        """The header block of an answer in parts."""

    def body(self, number: int, data: bytes) -> None:
        """More of an answer; `queued` tells how much of it waits for the peer."""

    def end(self, number: int, headers: status.Headers) -> None:
        """The header block that ends an answer: its trailers, or all of it."""

    def queued(self, number: int) -> int:
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
