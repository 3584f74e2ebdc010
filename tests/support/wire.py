"""What a streaming protocol is to tests: how its model writes texts, and how a client reads them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sidecar.formats.sse import EventSplitter

Texts = Mapping[str, str]
SSE, NDJSON = "text/event-stream", "application/x-ndjson"
ARGUMENTS = "arguments"
"""Text streams whose name begins so are JSON texts."""


@dataclass(frozen=True, slots=True)
class Wire:
    """One protocol and path. `streams` are the text streams that a case may fill."""

    name: str
    protocol: str
    path: str
    streams: tuple[str, ...]
    begin: Callable[[], list[Any]]
    piece: Callable[[str, str], Any]
    end: Callable[[Texts], list[Any]]
    """Given the whole texts, as some protocols say them again."""
    whole: Callable[[Texts], Any]
    """The same answer when it is not streamed."""
    joined: Callable[[Any, dict[str, str]], None]
    """What a client adds to its texts when it reads an event."""
    read: Callable[[Any], dict[str, str]]
    """What a client reads in a whole answer."""
    kind: str = SSE
    named: bool = False
    """Events carry their type as SSE event name."""

    def event(self, value: Any, dump: Callable[[Any], str]) -> bytes:
        if self.kind == NDJSON:
            return dump(value).encode() + b"\n"
        name = f"event: {value['type']}\n" if self.named else ""
        return f"{name}data: {dump(value)}\n\n".encode()

    def client(self, data: bytes) -> dict[str, str]:
        texts: dict[str, str] = defaultdict(str)
        for value in self.events(data):
            self.joined(value, texts)
        return dict(texts)

    def events(self, data: bytes) -> Iterator[Any]:
        if self.kind == NDJSON:
            yield from (json.loads(line) for line in data.splitlines() if line.strip())
            return
        for event in EventSplitter().feed(data, end=True):
            if event.data and event.data != b"[DONE]":
                yield json.loads(event.data)


def index(stream: str) -> int:
    return int(stream.partition(":")[2] or 0)
