"""A client that sends exactly the bytes it is given and reads all that comes back, without an opinion about either."""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sidecar.wire.ext_authz import PATIENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The first answer, and how many there were. status 0: the connection ended without one."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    whole: bool = True
    """False when the body ended before its length or last chunk."""
    answers: int = 0
    raw: bytes = b""


def shed(status: int, asked: float) -> bool:
    """Whether this refusal, `asked` for then (monotonic), came of waiting. A guard sheds whom it let wait too long, and
    on a machine that stands still for a moment everybody waits: ask again, as clients do. Any other 503 comes sooner.
    """
    return status == 503 and time.monotonic() - asked >= PATIENCE


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: object, **__: object) -> io.BytesIO:
        return io.BytesIO(self._data)


def parse(raw: bytes, method: str = "POST") -> Reply:
    """Read the first final answer of what a connection said."""
    while raw.startswith(b"HTTP/1.1 100"):
        raw = raw.partition(b"\r\n\r\n")[2]
    if not raw.startswith(b"HTTP/1."):
        return Reply(status=0, raw=raw)
    response = http.client.HTTPResponse(_Bytes(raw), method=method)  # type: ignore[arg-type]
    response.begin()
    whole = True
    try:
        body = response.read()
    except http.client.IncompleteRead as error:
        body, whole = error.partial, False
    return Reply(
        status=response.status,
        headers={name.lower(): value for name, value in response.getheaders()},
        body=body,
        whole=whole,
        answers=raw.count(b"HTTP/1.1 "),
        raw=raw,
    )


def complete(raw: bytes) -> bool:
    """Whether a whole answer is there."""
    head, end, body = raw.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    if not end or lines[0].split(b" ")[1:2] == [b"100"]:
        return False
    if b"transfer-encoding: chunked" in lines:
        return body.endswith(b"\r\n0\r\n\r\n") or body == b"0\r\n\r\n"
    length = [line.split(b":")[1] for line in lines if line.startswith(b"content-length:")]
    return bool(length) and len(body) >= int(length[0])


def exchange(
    port: int,
    payload: bytes,
    *,
    half_close: bool = False,
    patience: float = 30.0,
    stop_after: int = 0,
    one_answer: bool = False,
) -> bytes:
    """Send and read until the other side closes, is silent for `patience` seconds, or `stop_after` bytes came.

    one_answer: also when an answer is complete. Envoy keeps a connection open for a while that it refused early.
    """
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=patience) as connection:

        def send() -> None:
            with contextlib.suppress(OSError):
                connection.sendall(payload)
                if half_close:
                    connection.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        with contextlib.suppress(OSError):
            while piece := connection.recv(1 << 16):
                received += piece
                if (stop_after and len(received) >= stop_after) or (one_answer and complete(received)):
                    break
    sender.join(5)
    return received


def wait_until(predicate: Callable[[], object], within: float = 60.0, every: float = 0.05) -> bool:
    """Whether predicate() became true."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        if predicate():
            return True
        time.sleep(every)
    return False
