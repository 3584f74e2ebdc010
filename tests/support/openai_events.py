"""What a model of the OpenAI protocols says, event by event, as bytes on the wire."""

from __future__ import annotations

import json
from typing import Any

DONE = b"data: [DONE]\n\n"


def chunk(delta: dict[str, Any], *, index: int = 0, finish: str | None = None) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    made = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return f"data: {json.dumps(made)}\n\n".encode()


def call(arguments: str, *, index: int = 0, number: int = 0, **more: Any) -> bytes:
    """A piece of a tool call's arguments; the first one of a call has its id and name in `more`."""
    function = {"arguments": arguments, **({"name": more["name"]} if "name" in more else {})}
    ids = {"id": f"call_{number}", "type": "function"} if "name" in more else {}
    return chunk({"tool_calls": [{"index": number, **ids, "function": function}]}, index=index)


class Responses:
    """Numbered events of one answer of the Responses API."""

    def __init__(self) -> None:
        self._number = -1

    def event(self, kind: str, **members: Any) -> bytes:
        self._number += 1
        data = json.dumps({"type": kind, "sequence_number": self._number, **members})
        return f"event: {kind}\ndata: {data}\n\n".encode()

    def begin(self) -> bytes:
        return self.event("response.created", response=response("in_progress"))

    def message(self, output: int, pieces: list[str]) -> bytes:
        place = {"item_id": f"msg_{output}", "output_index": output, "content_index": 0}
        text = "".join(pieces)
        part = {"type": "output_text", "text": text, "annotations": []}
        item = {"id": f"msg_{output}", "type": "message", "role": "assistant"}
        first = {**item, "status": "in_progress", "content": []}
        last = {**item, "status": "completed", "content": [part]}
        return b"".join(
            [
                self.event("response.output_item.added", output_index=output, item=first),
                self.event("response.content_part.added", **place, part={**part, "text": ""}),
                *(self.event("response.output_text.delta", **place, delta=piece) for piece in pieces),
                self.event("response.output_text.done", **place, text=text),
                self.event("response.content_part.done", **place, part=part),
                self.event("response.output_item.done", output_index=output, item=last),
            ]
        )

    def call(self, output: int, pieces: list[str], *, name: str = "mail") -> bytes:
        place = {"item_id": f"fc_{output}", "output_index": output}
        item = {"id": f"fc_{output}", "type": "function_call", "call_id": "call_1", "name": name}
        whole = "".join(pieces)
        first = {**item, "arguments": "", "status": "in_progress"}
        last = {**item, "arguments": whole, "status": "completed"}
        delta = "response.function_call_arguments.delta"
        return b"".join(
            [
                self.event("response.output_item.added", output_index=output, item=first),
                *(self.event(delta, **place, delta=piece) for piece in pieces),
                self.event("response.function_call_arguments.done", **place, arguments=whole),
                self.event("response.output_item.done", output_index=output, item=last),
            ]
        )

    def end(self, *output: dict[str, Any]) -> bytes:
        return self.event("response.completed", response=response("completed", *output))


def response(status: str, *output: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "model": "m",
        "output": list(output),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }


def said(text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"id": "msg_0", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
