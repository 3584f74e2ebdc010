"""OpenAI's Responses API as a model speaks it and as a client reads it (wires.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.wire import ARGUMENTS, Texts, index

_PARTS = {"output_text": "text", "refusal": "refusal"}


@dataclass(slots=True)
class Numbered:
    number: int = field(default=0)

    def event(self, kind: str, **members: Any) -> Any:
        self.number += 1
        return {"type": f"response.{kind}", "sequence_number": self.number, **members}


def response(output: Sequence[Any]) -> Any:
    return {"id": "r", "object": "response", "created_at": 1, "model": "m", "output": output}


def item(stream: str, text: str) -> Any:
    kind = stream.partition(":")[0]
    if kind == ARGUMENTS:
        return {"id": stream, "type": "function_call", "name": "f", "arguments": text}
    part = {"type": kind, _PARTS[kind]: text}
    return {"id": stream, "type": "message", "role": "assistant", "content": [part]}


def _kind(stream: str) -> str:
    kind = stream.partition(":")[0]
    return "function_call_arguments" if kind == ARGUMENTS else kind


def response_piece(stream: str, text: str) -> Any:
    place = {"item_id": "i", "output_index": index(stream), "content_index": 0}
    return Numbered().event(f"{_kind(stream)}.delta", **place, delta=text)


def response_end(texts: Texts) -> list[Any]:
    made: list[Any] = []
    for stream, text in texts.items():
        place = {"item_id": "i", "output_index": index(stream), "content_index": 0}
        key = _PARTS.get(_kind(stream), ARGUMENTS)
        made.append(Numbered().event(f"{_kind(stream)}.done", **place, **{key: text}))
        made.append(Numbered().event("output_item.done", output_index=index(stream), item=item(stream, text)))
    output = [item(stream, text) for stream, text in texts.items()]
    return [*made, Numbered().event("completed", response=response(output))]


def response_joined(value: Any, texts: dict[str, str]) -> None:
    stem, _, phase = value["type"].removeprefix("response.").rpartition(".")
    kind = ARGUMENTS if stem == "function_call_arguments" else stem
    if phase == "delta":
        texts[f"{kind}:{value['output_index']}"] += value["delta"]
    elif phase == "done" and stem in {*_PARTS, "function_call_arguments"}:
        texts[f"done {kind}:{value['output_index']}"] = value[_PARTS.get(stem, ARGUMENTS)]
    elif value["type"] == "response.completed":
        for stream, text in response_read(value["response"]).items():
            texts[f"end {stream}"] = text


def response_read(value: Any) -> dict[str, str]:
    texts: dict[str, str] = {}
    for one in value["output"]:
        if "arguments" in one:
            texts[one["id"]] = one["arguments"]
        else:
            (part,) = one["content"]
            texts[one["id"]] = part[_PARTS[part["type"]]]
    return texts
