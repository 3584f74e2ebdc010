"""The fastest model there is: fixed answers from memory, a raw protocol on uvloop. python -m benchmarks.upstream PORT.

A POST with "stream":true gets server-sent events: 50 of them, 1 ms apart, or as its `user` says ("stream COUNT MS").
Anything else gets one JSON answer that has the fields of every benchmark policy. For the soak test a `user` of "play
WORD" plays a leak, an echo, an error, a hang-up; "play never" must not come, and is counted at GET /never.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from typing import cast

import uvloop

CHUNKS = 50
PAUSE_MS = 1
_ASKED = re.compile(rb'"user":"stream (\d+) (\d+)"')
_SAYS = re.compile(rb'"user":"play (\w+)"')
CANARY = "canary-0123456789"
"""In the policies of benchmarks/cases.py."""


def completion(content: str) -> bytes:
    """A chat completion as a whole HTTP answer."""
    body = json.dumps(
        {
            "id": "x",
            "object": "chat.completion",
            "created": 1,
            "model": "bench",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": content},
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }
    ).encode()
    return _whole("200 OK", "application/json", body)


def _whole(status: str, kind: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


ANSWER = completion("The answer is forty-two, as everybody knows. " * 8)
LARGE = completion("The answer is forty-two, as everybody knows. " * 20_000)
LEAK = completion(f"The answer is {CANARY}.")
TRACE = _whole(
    "500 Internal Server Error", "text/plain", b'Traceback (most recent call last):\n  File "secret.py"'
)
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def event(content: str) -> bytes:
    """One chat completion chunk as an HTTP chunk."""
    delta = {"index": 0, "delta": {"content": content}, "finish_reason": None}
    made = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "bench", "choices": [delta]}
    data = b"data: " + json.dumps(made).encode() + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(data), data)


EVENTS = [event(f"word{number} and ") for number in range(CHUNKS)]
LEAKING = [*EVENTS[:20], event("cana"), event("ry-0123"), event("456789"), *EVENTS[20:]]
END = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


class Model(asyncio.Protocol):
    """One connection, one request at a time."""

    never = 0
    """Requests that a guard should have kept."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0 or self._transport is None:
            return
        lines = self._buffer[:head].lower()
        at = lines.find(b"content-length: ")
        length = int(lines[at + 16 :].split(b"\r", 1)[0]) if at >= 0 else 0
        if len(self._buffer) < head + 4 + length:
            return
        body, self._buffer = self._buffer[head + 4 :], b""
        if lines.startswith(b"get /never"):
            self._transport.write(_whole("200 OK", "text/plain", str(Model.never).encode()))
        else:
            self._answer(self._transport, body)

    def _answer(self, transport: asyncio.Transport, body: bytes) -> None:
        tail = body[-500:]
        said = found[1] if (found := _SAYS.search(tail)) else b""
        if said == b"never":
            Model.never += 1
        if b'"stream":true' in tail:
            asked = _ASKED.search(tail)
            count, pause = (int(asked[1]), int(asked[2])) if asked else (CHUNKS, PAUSE_MS)
            transport.write(STREAM)
            self._next(LEAKING if said == b"leak" else EVENTS, 0, count, pause / 1000)
        elif said == b"echo":
            transport.write(completion(json.loads(body)["messages"][0]["content"]))
        elif said == b"reset":
            transport.abort()
        else:
            transport.write({b"leak": LEAK, b"large": LARGE, b"trace": TRACE}.get(said, ANSWER))

    def _next(self, events: list[bytes], number: int, count: int, pause: float) -> None:
        if self._transport is None:
            return
        if number == count:
            self._transport.write(END)
            return
        self._transport.write(events[number % len(events)])
        self._loop.call_later(pause, self._next, events, number + 1, count, pause)


async def main(port: int) -> None:
    """Serve on loopback until killed."""
    server = await asyncio.get_running_loop().create_server(Model, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
