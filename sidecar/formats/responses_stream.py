"""Streamed answers of OpenAI's Responses API: typed SSE events, deltas first, then the whole text again.

Deltas are text streams named by output and part. Whole texts (`….done` events, items, the response itself) are read
like a document: each must be redacted as the deltas were. Events are numbered
(https://platform.openai.com/docs/api-reference/responses-streaming), so one that the guard puts in moves the numbers
of those that follow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sidecar.formats.base import UNDELIVERED, TextPart
from sidecar.formats.event_stream import JsonEventStream
from sidecar.formats.json_text import DEFAULT_DEPTH, Path, as_json
from sidecar.formats.openai_fields import engines_own, padding, shaped
from sidecar.formats.openai_reader import OpenAIReader
from sidecar.formats.reading import Reading, index_of
from sidecar.formats.response_items import STREAMS, judged
from sidecar.formats.same_shape import NUMBER, PADDING, Asides
from sidecar.formats.sse import MAX_WHOLE_BYTES, EventSplitter, encode
from sidecar.model.decision import Cause

_STREAMED = {
    "response.output_text": "text",
    "response.refusal": "refusal",
    "response.reasoning_text": "text",
    "response.reasoning_summary_text": "text",
    "response.custom_tool_call_input": "input",
    "response.code_interpreter_call_code": "code",
    "response.function_call_arguments": "arguments",
    "response.mcp_call_arguments": "arguments",
}
"""What is streamed, and the member of its last event that holds all of it."""
_BLOCK = re.compile(
    r"(?:output\[\d+\]\.response\.output_text|(output\[\d+\]\.response\.reasoning(?:_summary)?_text))\[\d+, \d+\]\.delta"
)
_NUMBER: Path = ("sequence_number",)
_PADDING: Path = ("obfuscation",)
_ASIDES: Asides = {_NUMBER: NUMBER, _PADDING: PADDING}
_INDEXES = ("output_index", "content_index", "summary_index")
_ENDINGS = frozenset({"response.completed", "response.incomplete", "response.failed", "error"})
_FAILED = frozenset({"response.failed", "error"})
_NAME = re.compile(rb"(?:response\.[a-z_.]{1,64}|error|message)")


class _EventNames:
    """All names that this protocol may give to its events: new ones come every few months."""

    def __contains__(self, name: object) -> bool:
        return isinstance(name, bytes) and _NAME.fullmatch(name) is not None


def responses_stream(*, max_depth: int = DEFAULT_DEPTH, conceal: bool = True) -> JsonEventStream:
    """AnswerStream of /v1/responses."""
    return JsonEventStream(
        ResponseEvents(max_depth),
        EventSplitter(MAX_WHOLE_BYTES),
        max_depth=max_depth,
        conceal=conceal,
        text_of=_text_of,
    )


def _text_of(location: str) -> str:
    """Messages are one text, pieces of one item's reasoning another."""
    block = _BLOCK.fullmatch(location)
    return "" if block is None else block[1] or "output"


class ResponseEvents:
    """EventReader of this protocol."""

    event_names = _EventNames()
    repeats = True
    asides = _ASIDES

    def __init__(self, max_depth: int) -> None:
        self._max_depth = max_depth
        self._envelope: dict[str, Any] = {}
        self._shapes: dict[str, dict[str, Any]] = {}
        """The members of a text stream's events that say whose text they carry."""
        self._number = -1
        """Of the last event that went out."""
        self._inserted = 0
        self._ended = False
        self._said = False
        """With a text, a refusal or a call, or known to have none."""

    def read(self, value: dict[str, Any], reading: Reading) -> None:
        kind = value.get("type")
        rest = {key: item for key, item in value.items() if not _position(key, item)}
        if isinstance(kind, str) and _NAME.fullmatch(kind.encode("utf-8", "replace")):
            del rest["type"]
        else:
            kind = ""
        stream, _, phase = kind.rpartition(".")
        if stream in _STREAMED and phase in {"delta", "done"}:
            self._streamed(stream, phase, value, rest, reading)
        elif kind == "response.audio.delta" and isinstance(rest.pop("delta", None), str):
            reading.unscanned["audio"] = None
        else:
            self._whole(kind, value, rest, reading)
        reading.rest(rest, (), known=kind == "error")
        ended = reading.final = kind in _ENDINGS
        self._said = self._said or kind in _FAILED
        number = value.get("sequence_number")
        reading.mark = (number if type(number) is int else None, ended)

    def again(self, said: Mapping[Path, bytes]) -> Any:
        return (int(said[_NUMBER]) if _NUMBER in said else None, False)

    def sent(self, mark: Any) -> Mapping[Path, str]:
        number, ended = mark
        self._ended = self._ended or ended
        if number is None:
            return {}
        self._number = number + self._inserted
        return {_NUMBER: str(self._number)} if self._inserted else {}

    def unsaid(self) -> Sequence[str]:
        silent, self._said = not self._said, True
        return ["output[0].response.output_text[0, 0].delta"] if silent else []

    def closing(self, pending: Sequence[TextPart]) -> bytes:
        out = bytearray()
        for part in pending:
            shape = self._shapes[part.location]
            out += self._event(f"{shape['type']}.delta", **{**shape, "delta": part.text})
        return bytes(out)

    def cut(self, decision_id: str, *, named: bool = True) -> bytes:
        if not named:
            self._envelope = {}
        why = {"incomplete_details": {"reason": "content_filter"}}
        return self._ending("incomplete", why, decision_id)

    def fail(self, decision_id: str) -> bytes:
        error = {"code": "server_error", "message": UNDELIVERED}
        return self._ending("failed", {"error": error}, decision_id)

    def _ending(self, status: str, why: dict[str, Any], decision_id: str) -> bytes:
        if self._ended:
            return b""
        response = {
            "object": "response",
            **self._envelope,
            "status": status,
            **why,
            "output": [],
            "parallel_tool_calls": False,
            "tool_choice": "auto",
            "tools": [],
        }
        return self._event(f"response.{status}", response=response, bartizan={"decision": decision_id})

    def _event(self, kind: str, **members: Any) -> bytes:
        self._inserted += 1
        self._number += 1
        event = {**members, "type": kind, "sequence_number": self._number}
        return encode(as_json(event).encode(), kind.encode())

    def _streamed(
        self, stream: str, phase: str, value: dict[str, Any], rest: dict[str, Any], reading: Reading
    ) -> None:
        """A delta, or the end of one text stream."""
        output, *parts = (index_of(value.get(key), 0) for key in _INDEXES)
        name = f"output[{output}].{stream}{parts}."
        key = "delta" if phase == "delta" else _STREAMED[stream]
        read = reading.json_text if _STREAMED[stream] == "arguments" else reading.text
        self._said = self._said or ("reasoning" not in stream and bool(value.get(key)))
        read(rest.pop(key, None), (key,), name + phase)
        if phase == "done" and isinstance(value.get("name"), str):  # newer engines say the tool's name again
            again = {"type": "function_call", "name": value["name"], key: value.get(key)}
            self._judge(again, f"output[{output}].again", reading)
        if phase == "done":
            reading.finished.append(name)
        else:
            shape = {at: item for at, item in value.items() if _position(at, item) and at != _PADDING[0]}
            self._shapes[name + phase] = {**shape, "type": stream, "output_index": output}

    def _whole(self, kind: str, value: dict[str, Any], rest: dict[str, Any], reading: Reading) -> None:
        """An item, a part or the response as it is now; what they end ends here, too."""
        reader = OpenAIReader(Cause.ANSWER_MALFORMED, self._max_depth)
        if isinstance(response := rest.get("response"), dict):
            del rest["response"]
            reader.answer(response)
            reading.whole(reader.texts, ("response",))
            output = response.get("output")
            for number, one in enumerate(output if isinstance(output, list) else ()):
                self._judge(one, f"response.output[{number}]", reading)
            if not self._envelope:
                keys = ("id", "created_at", "model")
                self._envelope = {key: response[key] for key in keys if engines_own(key, response.get(key))}
        elif isinstance(item := rest.get("item"), dict):
            del rest["item"]
            reader.item(item, ())
            reading.whole(reader.texts, ("item",))
            self._item(kind, item, index_of(value.get("output_index"), 0), reading)
        elif isinstance(part := rest.pop("part", None), dict):
            reader.part(part, (), "assistant")
            reading.whole(reader.texts, ("part",))
            if part.get("type") in {None, "output_text", "text"}:
                place = f"output[{index_of(value.get('output_index'), 0)}].part"
                self._judge({"content": [part]}, place, reading)
        elif part is not None:
            rest["part"] = part
        reading.unscanned.update(dict.fromkeys(reader.unscanned))
        if kind == "response.output_item.done":
            reading.finished.append(f"output[{index_of(value.get('output_index'), 0)}].")
        elif kind in {"response.content_part.done", "response.reasoning_summary_part.done"}:
            output, *parts = (index_of(value.get(key), 0) for key in _INDEXES)
            reading.finished += [f"output[{output}].{stream}{parts}." for stream in _STREAMED]

    def _item(self, kind: str, item: dict[str, Any], output: int, reading: Reading) -> None:
        """A call that begins is judged by its name, with its arguments when they are all there; the rest at once."""
        stream = STREAMS.get(str(item.get("type")))
        if kind == "response.output_item.added" and stream and isinstance(item.get("name"), str):
            place = f"output[{output}].{stream}[0, 0].name"
            reading.objects.append(TextPart(location=place, text=item["name"]))
            reading.finished.append(place)
            if not (item.get("arguments") or item.get("input")):
                return
        self._judge(item, f"output[{output}].{'added' if kind.endswith('.added') else 'item'}", reading)

    def _judge(self, item: Any, place: str, reading: Reading) -> None:
        """What is whole in this event, and so judged with it."""
        if found := judged(item, place):
            self._said = True
            reading.objects += found
            reading.finished.append(f"{place}.")


def _position(key: str, value: Any) -> bool:
    """Whether a member only says where an event belongs (or pads it), and looks like it."""
    if key in {*_INDEXES, "annotation_index"}:
        return value is None or type(value) is int
    if key == "sequence_number":
        return type(value) is int and 0 <= value < 10**9
    return (key == "item_id" and shaped(value)) or (key == _PADDING[0] and padding(value))
