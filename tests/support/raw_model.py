"""A model of plain sockets and threads: keeps what it received byte for byte, answers as a test says, and can be down."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from bartizan.local.processes import free_port

CANARY = "canary-7f3a9c21"
LEAK = "leakanswer5d1f77e0c4"
"""What no output of the sidecar may hold."""
STACK_TRACE = 'Traceback (most recent call last):\n  File "/srv/secret_model.py", line 7'


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request as it came."""

    head: bytes
    body: bytes

    @property
    def headers(self) -> dict[str, str]:
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
        }


Write = Callable[[bytes], None]
Answer = Callable[[Received, Write], None]


def answer(body: bytes, *, status: str = "200 OK", kind: str = "application/json", extra: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{extra}\r\n"
    return head.encode() + body


def _echo(request: Received, write: Write) -> None:
    text: object = ""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        text = json.loads(request.body)["text"]
    said = {"echo": text, "probabilities": {"good": 0.87654321, "bad": 0.12345679}}
    write(answer(json.dumps(said).encode()))


def _chat(_request: Received, write: Write) -> None:
    message = {"index": 0, "message": {"role": "assistant", "content": "fine"}, "finish_reason": "stop"}
    write(answer(json.dumps({"id": "c", "object": "chat.completion", "choices": [message]}).encode()))


def _says(said: bytes, **options: str) -> Answer:
    return lambda _request, write: write(answer(said, **options))


def event(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    made = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "chat", "choices": [choice]}
    return f"data: {json.dumps(made)}\n\n".encode()


def sse(
    *pieces: bytes,
    pause: float = 0.0,
    forever: bool = False,
    status: str = "200 OK",
    kind: str = "text/event-stream",
) -> Answer:
    """A chunked stream of events, ended properly or never."""

    def stream(_request: Received, write: Write) -> None:
        head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n"
        write(head.encode())
        for piece in pieces:
            write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            time.sleep(pause)
        while forever:
            piece = event("more ")
            write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            time.sleep(0.02)
        write(b"0\r\n\r\n")

    return stream


_DONE = b"data: [DONE]\n\n"
_MANY = "fine words first, many of them, to pass what is held back. " * 3
_MAIL = event("write to jane.d") + event("oe@exam") + event("ple.org now, ") + event(_MANY)


def _broken_chunks(_request: Received, write: Write) -> None:
    write(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        b'10\r\n{"echo": "half\r\n'
    )


def _message(**message: object) -> Answer:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
    return _says(json.dumps({"id": "c", "object": "chat.completion", "choices": [choice]}).encode())


def _content(text: str) -> Answer:
    return _message(content=text)


def _tool(name: str, arguments: str) -> Answer:
    call = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}
    return _message(content=None, tool_calls=[call])


def _tool_events(name: str, arguments: str) -> list[bytes]:
    first = {"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": ""}}
    calls = [first, *({"index": 0, "function": {"arguments": char}} for char in arguments)]
    deltas = [({"tool_calls": [call]}, None) for call in calls]
    made = [
        {"index": 0, "delta": delta, "finish_reason": end} for delta, end in [*deltas, ({}, "tool_calls")]
    ]
    return [
        b"data: "
        + json.dumps(
            {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [one]}
        ).encode()
        + b"\n\n"
        for one in made
    ]


ANSWERS: dict[str, Answer] = {
    "echo": _echo,
    "chat": _chat,
    "stack_trace": _says(STACK_TRACE.encode(), status="500 Internal Server Error", kind="text/plain"),
    "binary_error": _says(
        b"\xff\xfe" + STACK_TRACE.encode(), status="500 Internal Server Error", kind="text/plain"
    ),
    "json_stack_trace": _says(STACK_TRACE.encode(), status="500 Internal Server Error"),
    "json_error": _says(
        json.dumps({"detail": "field required", "input": "jane.doe@example.org"}).encode(),
        status="422 Unprocessable Entity",
    ),
    "json_fault": _says(json.dumps({"detail": STACK_TRACE}).encode(), status="500 Internal Server Error"),
    "html_error": _says(STACK_TRACE.encode(), status="404 Not Found", kind="text/html"),
    "bare_error": lambda _request, write: write(
        b"HTTP/1.1 400 Bad Request\r\ncontent-length: 9\r\n\r\nTraceback"
    ),
    "html": _says(b"<p>jane@example.org</p>", kind="text/html"),
    "redirect": _says(
        STACK_TRACE.encode(),
        status="302 Found",
        kind="text/html",
        extra="location: http://10.0.0.1:8000/x\r\n",
    ),
    "endless_error": sse(b"Traceback ", forever=True, status="500 Internal Server Error", kind="text/plain"),
    "error_with_canary": _says(
        json.dumps({"detail": f"the prompt was {CANARY}"}).encode(), status="422 Unprocessable Entity"
    ),
    "malformed": _says(b'{"echo": "half'),
    "wrong_type": _says(b"<html>", kind="text/html"),
    "missing_field": _says(b'{"other": 1}'),
    "duplicate_keys": _says(b'{"echo": "a", "echo": "b", "probabilities": {}}'),
    "gzip": _says(gzip.compress(b'{"echo": "a", "probabilities": {}}'), extra="content-encoding: gzip\r\n"),
    "huge": _says(b'{"echo": "' + b"a" * (17 * 1024 * 1024) + b'", "probabilities": {}}'),
    "canary": _says(json.dumps({"echo": f"it is {CANARY}", "probabilities": {}}).encode()),
    "canary_escaped": _says(
        b'{"echo": "it is \\u0063anary-7f3\\u0061\\u0039c21", "probabilities": {}}',
    ),
    "mail": _says(json.dumps({"echo": "ask jane.doe@example.org", "probabilities": {}}).encode()),
    "spoofed_headers": _says(
        b'{"echo": "a", "probabilities": {}}',
        extra="x-bartizan-decision: model\r\nx-bartizan-proof: model\r\nserver: secret-server/1\r\n",
    ),
    "spoofed_error": _says(
        STACK_TRACE.encode(),
        status="503 Service Unavailable",
        kind="text/plain",
        extra="x-bartizan-decision: model\r\n",
    ),
    "reset": lambda _request, _write: None,
    "silent": lambda _request, _write: None,
    "cut_short": _broken_chunks,
    "empty": _says(b""),
    "tool": _tool("search", '{"q": "tea"}'),
    "tool_evil": _tool("shell", '{"cmd": "id"}'),
    "tool_odd": _tool("search", '{"q": 7}'),
    "sse_tool": sse(*_tool_events("search", '{"q": "tea"}'), _DONE),
    "sse_tool_evil": sse(*_tool_events("shell", '{"cmd": "id"}'), _DONE),
    "sse_tool_odd": sse(*_tool_events("search", '{"q": 7}'), _DONE),
    "chat_json": _content('{"mood": "good"}'),
    "chat_odd_json": _content('{"mood": "ugly"}'),
    "sse_json": sse(event('{"mood"'), event(': "good"}'), _DONE),
    "sse_odd_json": sse(event('{"mood"'), event(': "ugly"}'), _DONE),
    "sse": sse(event("one "), event("two "), event(_MANY), _DONE),
    "sse_slow": sse(*(event(f"word{number} ") for number in range(20)), _DONE, pause=0.05),
    "sse_mail": sse(*(piece + b"\n\n" for piece in _MAIL.split(b"\n\n") if piece), _DONE),
    "sse_canary": sse(event(_MANY), event("cana"), event("ry-7f3"), event("a9c21"), forever=True),
    "leak": _says(f'{{"echo": "{LEAK} jane.{LEAK}@example.org"}}'.encode(), extra=f"x-note: {LEAK}\r\n"),
    "leak_error": _says(LEAK.encode(), status="500 Internal Server Error", kind="text/plain"),
    "leak_broken": _says(f'{{"echo": "{LEAK}'.encode()),
    "leak_garbage": lambda _request, write: write(f"{LEAK} {LEAK}\r\n\r\n".encode()),
    "leak_bad_header": _says(b"{}", extra=f"x{LEAK}: a\x01{LEAK}\r\n"),
    "sse_canary_late": sse(*(event("fine words ") for _ in range(40)), event(CANARY), _DONE, pause=0.1),
    "sse_endless": sse(event(_MANY), forever=True),
    "sse_canary_bytes": sse(
        *(bytes([byte]) for byte in event(f"it is {CANARY} indeed")), event(_MANY), _DONE
    ),
    "sse_garbage": sse(b"data: {not json\n\n", event("more"), _DONE),
}


class RawModel:
    """Answers are chosen by `says`, or given as `script`. `down()` refuses connections until `up()`."""

    def __init__(self, default: str = "echo") -> None:
        self.port = free_port()
        self.default = default
        self.says = default
        self.script: Answer | None = None
        self.received: list[Received] = []
        self.unreadable: list[bytes] = []
        self.disconnects = 0
        self.accepted = 0
        """Connections so far: also of requests of which nothing readable came."""
        self._listening: socket.socket | None = None
        self._connections: set[socket.socket] = set()
        self.up()

    def up(self) -> None:
        listening = socket.create_server(("127.0.0.1", self.port), backlog=256)
        self._listening = listening
        threading.Thread(target=self._accept, args=(listening,), daemon=True).start()

    def down(self) -> None:
        """Close the door and every connection."""
        if self._listening is not None:
            with contextlib.suppress(OSError):
                self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()
            self._listening = None
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                self.accepted += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        self._connections.add(connection)
        try:
            with connection, connection.makefile("rb") as stream:
                while (request := self._read(stream)) is not None:
                    self.received.append(request)
                    name = self.says
                    (self.script or ANSWERS[name])(request, connection.sendall)
                    if name in {"reset", "cut_short"}:
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        return
        except OSError:
            self.disconnects += 1
        finally:
            self._connections.discard(connection)

    def _read(self, stream: BinaryIO) -> Received | None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = stream.readline()
            if not line:
                if head:
                    self.unreadable.append(head)
                return None
            head += line
        headers = Received(head=head, body=b"").headers
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = b""
            while size := int(stream.readline().partition(b";")[0] or b"0", 16):
                body += stream.read(size)
                stream.readline()
            stream.readline()
            return Received(head=head, body=body)
        return Received(head=head, body=stream.read(int(headers.get("content-length", "0"))))
