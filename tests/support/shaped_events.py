"""Events of streamed answers that differ in their text alone, and readers that read each of them in full."""

from __future__ import annotations

import json
from typing import Any

from sidecar.formats.anthropic_stream import MessageEvents
from sidecar.formats.event_stream import JsonEventStream
from sidecar.formats.json_text import DEFAULT_DEPTH
from sidecar.formats.ndjson import LineSplitter
from sidecar.formats.ollama import OllamaEvents
from sidecar.formats.openai_stream import ChatEvents
from sidecar.formats.responses_stream import ResponseEvents
from sidecar.formats.sse import EventSplitter, encode


class ReadsAll(ChatEvents):
    """The same protocol without shapes."""

    repeats = False


class ReadsAllMessages(MessageEvents):
    """The same protocol without shapes."""

    repeats = False


class ReadsAllResponses(ResponseEvents):
    """The same protocol without shapes."""

    repeats = False


class ReadsAllLines(OllamaEvents):
    """The same protocol without shapes."""

    repeats = False


Reader = type[ChatEvents | MessageEvents | ResponseEvents | OllamaEvents]


def stream(reader: Reader, *, conceal: bool = True) -> JsonEventStream:
    if issubclass(reader, ChatEvents):
        return JsonEventStream(reader(legacy=False), EventSplitter(), conceal=conceal)
    if issubclass(reader, OllamaEvents):
        return JsonEventStream(reader(DEFAULT_DEPTH, chat=True), LineSplitter(), conceal=conceal)
    made = reader(DEFAULT_DEPTH) if issubclass(reader, ResponseEvents) else reader()
    return JsonEventStream(made, EventSplitter(), conceal=conceal)


def chunk(
    text: Any,
    *,
    index: int = 0,
    key: str = "content",
    ascii_only: bool = True,
    around: dict[str, Any] | None = None,
    **more: Any,
) -> bytes:
    choice = {"index": index, "delta": {key: text}, "finish_reason": None, **more}
    value = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "choices": [choice]}
    return json.dumps({**value, **(around or {})}, ensure_ascii=ascii_only).encode()


def delta(
    text: Any, *, index: int = 0, key: str = "text", name: bytes = b"content_block_delta", **more: Any
) -> bytes:
    value = {
        "type": "content_block_delta",
        "index": index,
        "delta": {"type": f"{key}_delta", key: text, **more},
    }
    return encode(json.dumps(value).encode(), name)


def event(kind: str, **members: Any) -> bytes:
    return encode(json.dumps({"type": kind, **members}).encode(), kind.encode())


def response(
    text: Any, number: Any = None, padding: Any = None, *, kind: str = "output_text", **more: Any
) -> bytes:
    value = {
        "type": f"response.{kind}.delta",
        "item_id": "msg_1",
        "output_index": 0,
        "content_index": 0,
        "delta": text,
        **more,
    }
    value |= {} if number is None else {"sequence_number": number}
    value |= {} if padding is None else {"obfuscation": padding}
    return encode(json.dumps(value).encode(), value["type"].encode())


def line(
    text: Any, time: Any = "2026-11-30T13:00:00.1Z", *, key: str = "content", done: bool = False, **more: Any
) -> bytes:
    message = {"role": "assistant", key: text, **more}
    return json.dumps({"model": "m", "created_at": time, "message": message, "done": done}).encode() + b"\n"
