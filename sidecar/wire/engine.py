"""The narrow interface between the gRPC edge to Envoy and what answers it.

An engine speaks gRPC over HTTP/2 on a unix socket and knows no message type: bytes in, bytes out. engine_grpcio.py is
the first one; a faster one takes its place behind the same interface.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from sidecar.model.value import Value

MAX_CONNECTIONS: Final = 256
"""Of one worker. Envoy has one for each of its threads."""


class Call(Value, frozen=True, kw_only=True):
    """One RPC as a handler sees it. Envoy's span arrives only in `metadata` (traceparent)."""

    method: str
    """"/package.Service/Method"."""
    metadata: Mapping[str, str]
    deadline: float | None
    """Seconds left when the call arrived (grpc-timeout), None without."""
    peer: str


class CallFailed(Exception):
    """Ends an RPC with a gRPC status other than OK: Envoy then fails closed (status_on_error)."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


Answer = bytes | Coroutine[Any, Any, bytes]
"""A reply, or who makes it where that takes a wait."""


class UnaryHandler(Protocol):
    """Replies at once, or returns a coroutine that does (an `async def` always does). Neither runs in a task up to its first
    wait, so that answers without one cost none: no asyncio.timeout and no TaskGroup before that, and what replies at
    once sets no context variable.
    """

    def __call__(self, call: Call, message: bytes) -> Answer: ...


async def answered(answer: Answer) -> bytes:
    """The reply, for callers to whom both kinds are one."""
    return answer if isinstance(answer, bytes) else await answer


class StreamHandler(Protocol):
    """Yields replies. Returning ends the stream with status OK; Envoy would then pass the rest of the exchange
    unscanned, so a handler returns only after its last answer and raises CallFailed otherwise.

    May run outside of a task up to its first wait for anything but `messages` and its reader: see UnaryHandler.
    """

    def __call__(self, call: Call, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    unary: Mapping[str, UnaryHandler]
    stream: Mapping[str, StreamHandler]


class Engine(Protocol):
    async def start(self, socket: Path, services: Services) -> None:
        """Listen on the unix socket (mode 0600)."""

    async def stop(self, grace: float) -> None:
        """Refuse new calls, let running ones end for `grace` seconds."""
