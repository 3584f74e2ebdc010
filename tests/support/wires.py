"""Every streaming protocol as a model speaks it and as a client reads it: the same texts, streamed and whole."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tests.support.responses_wire import (
    Numbered,
    item,
    response,
    response_end,
    response_joined,
    response_piece,
    response_read,
)
from tests.support.wire import ARGUMENTS, NDJSON, Texts, Wire, index

# chat completions


def _chunk(stream: str, text: str) -> Any:
    kind, (choice, call) = stream.partition(":")[0], divmod(index(stream), 2)
    delta = (
        {"tool_calls": [{"index": call, "function": {"arguments": text}}]}
        if kind == ARGUMENTS
        else {kind: text}
    )
    return {"id": "c", "choices": [{"index": choice, "delta": delta, "finish_reason": None}]}


def _chat_end(_texts: Texts) -> list[Any]:
    return [{"id": "c", "choices": [{"index": at, "delta": {}, "finish_reason": "stop"}]} for at in (1, 0)]


def _chat(texts: Texts) -> Any:
    messages: dict[int, dict[str, Any]] = {0: {"tool_calls": []}, 1: {"tool_calls": []}}
    for stream, text in texts.items():
        kind, (choice, _) = stream.partition(":")[0], divmod(index(stream), 2)
        if kind == ARGUMENTS:
            messages[choice]["tool_calls"].append({"id": stream, "function": {"arguments": text}})
        else:
            messages[choice][kind] = text
    return {"id": "c", "choices": [{"index": at, "message": message} for at, message in messages.items()]}


def _chat_joined(value: Any, texts: dict[str, str]) -> None:
    for choice in value["choices"]:
        for key, text in choice.get("delta", {}).items():
            if key == "tool_calls":
                for call in text:
                    texts[f"{ARGUMENTS}:{choice['index'] * 2 + call['index']}"] += call["function"][
                        "arguments"
                    ]
            else:
                texts[f"{key}:{choice['index'] * 2}"] += text


def _chat_read(value: Any) -> dict[str, str]:
    texts: dict[str, str] = {}
    for choice in value["choices"]:
        message = choice["message"]
        texts |= {call["id"]: call["function"]["arguments"] for call in message.pop("tool_calls")}
        texts |= {f"{key}:{choice['index'] * 2}": text for key, text in message.items()}
    return texts


# completions


def _completion(stream: str, text: str) -> Any:
    return {"id": "c", "choices": [{"index": index(stream), "text": text, "finish_reason": None}]}


def _completion_whole(texts: Texts) -> Any:
    return {"choices": [{"index": index(stream), "text": text} for stream, text in texts.items()]}


def _completion_joined(value: Any, texts: dict[str, str]) -> None:
    for choice in value["choices"]:
        texts[f"text:{choice['index']}"] += choice.get("text", "")


def _completion_end(_texts: Texts) -> list[Any]:
    return [{"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}]


# Anthropic messages: all blocks are open at once, which is more than the protocol does

_DELTA = {"text": "text_delta", "thinking": "thinking_delta", ARGUMENTS: "input_json_delta"}
_FIELD = {"text": "text", "thinking": "thinking", ARGUMENTS: "partial_json"}
_BLOCKS = ("thinking:0", "text:1", f"{ARGUMENTS}:2", "text:3")


def _block(stream: str, text: str = "") -> dict[str, Any]:
    kind = stream.partition(":")[0]
    if kind == ARGUMENTS:
        return {"type": "tool_use", "id": stream, "name": "f", "input": json.loads(text) if text else {}}
    return {"type": kind, kind: text}


def _message(content: Sequence[Any]) -> Any:
    return {"id": "m", "type": "message", "role": "assistant", "content": content, "usage": {}}


def _message_begin() -> list[Any]:
    opened = [
        {"type": "content_block_start", "index": index(stream), "content_block": _block(stream)}
        for stream in _BLOCKS
    ]
    return [{"type": "message_start", "message": _message([])}, *opened]


def _block_delta(stream: str, text: str) -> Any:
    kind = stream.partition(":")[0]
    delta = {"type": _DELTA[kind], _FIELD[kind]: text}
    return {"type": "content_block_delta", "index": index(stream), "delta": delta}


def _message_end(_texts: Texts) -> list[Any]:
    closed = [{"type": "content_block_stop", "index": index(stream)} for stream in _BLOCKS]
    return [
        *closed,
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
        {"type": "message_stop"},
    ]


def _message_whole(texts: Texts) -> Any:
    return _message([_block(stream, texts.get(stream, "")) for stream in _BLOCKS])


def _message_joined(value: Any, texts: dict[str, str]) -> None:
    for kind, key in _FIELD.items():
        if key in value.get("delta", {}):
            texts[f"{kind}:{value['index']}"] += value["delta"][key]


def _message_read(value: Any) -> dict[str, str]:
    texts: dict[str, str] = {}
    for stream, block in zip(_BLOCKS, value["content"], strict=True):
        texts[stream] = json.dumps(block["input"]) if "input" in block else block[block["type"]]
    return {stream: text for stream, text in texts.items() if text != "{}"}


# Ollama


def _ollama_piece(stream: str, text: str) -> Any:
    kind = stream.partition(":")[0]
    return {"model": "m", "message": {"role": "assistant", kind: text}, "done": False}


def _ollama_joined(value: Any, texts: dict[str, str]) -> None:
    for key in ("content", "thinking"):
        texts[f"{key}:0"] += value.get("message", {}).get(key, "")


def _ollama_whole(texts: Texts) -> Any:
    said = {stream.partition(":")[0]: text for stream, text in texts.items()}
    return {"model": "m", "message": {"role": "assistant", **said}, "done": True}


def _ollama_read(value: Any) -> dict[str, str]:
    return {f"{key}:0": text for key, text in value["message"].items() if key != "role"}


def _nothing() -> list[Any]:
    return []


WIRES = (
    Wire(
        "chat", "openai", "/v1/chat/completions",
        ("content:0", "reasoning_content:0", f"{ARGUMENTS}:0", f"{ARGUMENTS}:1", "content:2", f"{ARGUMENTS}:2"),
        _nothing, _chunk, _chat_end, _chat, _chat_joined, _chat_read,
    ),
    Wire(
        "completions", "openai", "/v1/completions", ("text:0", "text:1"),
        _nothing, _completion, _completion_end, _completion_whole, _completion_joined,
        lambda value: {f"text:{choice['index']}": choice["text"] for choice in value["choices"]},
    ),
    Wire(
        "responses", "openai", "/v1/responses", ("output_text:0", "refusal:1", f"{ARGUMENTS}:2"),
        lambda: [Numbered().event("created", response=response([]))],
        response_piece, response_end, lambda texts: response([item(*pair) for pair in texts.items()]),
        response_joined, response_read, named=True,
    ),
    Wire(
        "messages", "anthropic", "/v1/messages", _BLOCKS,
        _message_begin, _block_delta, _message_end, _message_whole, _message_joined, _message_read, named=True,
    ),
    Wire(
        "ollama", "ollama", "/api/chat", ("content:0", "thinking:0"),
        _nothing, _ollama_piece, lambda _texts: [{"model": "m", "message": {}, "done": True}],
        _ollama_whole, _ollama_joined, _ollama_read, kind=NDJSON,
    ),
)  # fmt: skip
