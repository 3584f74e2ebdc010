"""What a model of the Anthropic protocol says, event by event, as bytes on the wire."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any


def event(kind: str, **members: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **members})}\n\n".encode()


def start() -> bytes:
    message: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 1},
    }
    return event("message_start", message=message) + event("ping")


def text(index: int, pieces: Iterable[str], field: str = "text") -> list[bytes]:
    """A text or thinking block."""
    more = {"signature": ""} if field == "thinking" else {}
    block = {"type": field, field: "", **more}
    return [
        event("content_block_start", index=index, content_block=block),
        *(
            event("content_block_delta", index=index, delta={"type": f"{field}_delta", field: piece})
            for piece in pieces
        ),
        event("content_block_stop", index=index),
    ]


def tool(index: int, pieces: Iterable[str], name: str = "mail") -> list[bytes]:
    """A tool call whose input comes as pieces of JSON."""
    block = {"type": "tool_use", "id": "toolu_1", "name": name, "input": {}}
    return [
        event("content_block_start", index=index, content_block=block),
        *(
            event(
                "content_block_delta", index=index, delta={"type": "input_json_delta", "partial_json": piece}
            )
            for piece in pieces
        ),
        event("content_block_stop", index=index),
    ]


def stop(reason: str = "end_turn") -> bytes:
    ended = {"stop_reason": reason, "stop_sequence": None}
    return event("message_delta", delta=ended, usage={"output_tokens": 9}) + event("message_stop")
