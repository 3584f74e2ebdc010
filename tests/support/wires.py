"""Every streaming protocol as a model speaks it and as a client reads it: the same texts, streamed and whole."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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


def _index(stream: str) -> int:
    return int(stream.partition(":")[2] or 0)


# chat completions


def _chunk(stream: str, text: str) -> Any:
    kind, index = stream.partition(":")[0], _index(stream)
    choice, call = divmod(index, 2)
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
        kind, (choice, _) = stream.partition(":")[0], divmod(_index(stream), 2)
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
    return {"id": "c", "choices": [{"index": _index(stream), "text": text, "finish_reason": None}]}


def _completion_whole(texts: Texts) -> Any:
    return {"choices": [{"index": _index(stream), "text": text} for stream, text in texts.items()]}


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
        {"type": "content_block_start", "index": _index(stream), "content_block": _block(stream)}
        for stream in _BLOCKS
    ]
    return [{"type": "message_start", "message": _message([])}, *opened]


def _block_delta(stream: str, text: str) -> Any:
    kind = stream.partition(":")[0]
    delta = {"type": _DELTA[kind], _FIELD[kind]: text}
    return {"type": "content_block_delta", "index": _index(stream), "delta": delta}


def _message_end(_texts: Texts) -> list[Any]:
    closed = [{"type": "content_block_stop", "index": _index(stream)} for stream in _BLOCKS]
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


# the Responses API

_PARTS = {"output_text": "text", "refusal": "refusal"}


@dataclass(slots=True)
class _Numbered:
    number: int = field(default=0)

    def event(self, kind: str, **members: Any) -> Any:
        self.number += 1
        return {"type": f"response.{kind}", "sequence_number": self.number, **members}


def _response(output: Sequence[Any]) -> Any:
    return {"id": "r", "object": "response", "created_at": 1, "model": "m", "output": output}


def _item(stream: str, text: str) -> Any:
    kind = stream.partition(":")[0]
    if kind == ARGUMENTS:
        return {"id": stream, "type": "function_call", "name": "f", "arguments": text}
    part = {"type": kind, _PARTS[kind]: text}
    return {"id": stream, "type": "message", "role": "assistant", "content": [part]}


def _kind(stream: str) -> str:
    kind = stream.partition(":")[0]
    return "function_call_arguments" if kind == ARGUMENTS else kind


def _response_piece(stream: str, text: str) -> Any:
    place = {"item_id": "i", "output_index": _index(stream), "content_index": 0}
    return _Numbered().event(f"{_kind(stream)}.delta", **place, delta=text)


def _response_end(texts: Texts) -> list[Any]:
    made: list[Any] = []
    for stream, text in texts.items():
        place = {"item_id": "i", "output_index": _index(stream), "content_index": 0}
        key = _PARTS.get(_kind(stream), ARGUMENTS)
        made.append(_Numbered().event(f"{_kind(stream)}.done", **place, **{key: text}))
        made.append(
            _Numbered().event("output_item.done", output_index=_index(stream), item=_item(stream, text))
        )
    output = [_item(stream, text) for stream, text in texts.items()]
    return [*made, _Numbered().event("completed", response=_response(output))]


def _response_joined(value: Any, texts: dict[str, str]) -> None:
    stem, _, phase = value["type"].removeprefix("response.").rpartition(".")
    kind = ARGUMENTS if stem == "function_call_arguments" else stem
    if phase == "delta":
        texts[f"{kind}:{value['output_index']}"] += value["delta"]
    elif phase == "done" and stem in {*_PARTS, "function_call_arguments"}:
        texts[f"done {kind}:{value['output_index']}"] = value[_PARTS.get(stem, ARGUMENTS)]
    elif value["type"] == "response.completed":
        for stream, text in _response_read(value["response"]).items():
            texts[f"end {stream}"] = text


def _response_read(value: Any) -> dict[str, str]:
    texts: dict[str, str] = {}
    for item in value["output"]:
        if "arguments" in item:
            texts[item["id"]] = item["arguments"]
        else:
            (part,) = item["content"]
            texts[item["id"]] = part[_PARTS[part["type"]]]
    return texts


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
        lambda: [_Numbered().event("created", response=_response([]))],
        _response_piece, _response_end, lambda texts: _response([_item(*pair) for pair in texts.items()]),
        _response_joined, _response_read, named=True,
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
