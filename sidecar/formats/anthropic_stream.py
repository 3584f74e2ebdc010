"""Streamed Anthropic messages: typed SSE events; each content block is a text stream of its own.

Blocks open, get deltas and close (https://docs.anthropic.com/en/docs/build-with-claude/streaming), so held-back text
goes before the event that closes its block, and a cut closes what is open. Clients go by the event's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sidecar.formats.anthropic_reader import ANTHROPIC_WORDS, AnthropicReader, sealed
from sidecar.formats.base import UNDELIVERED, TextPart
from sidecar.formats.event_stream import JsonEventStream
from sidecar.formats.identifiers import MAX_IDENTIFIER
from sidecar.formats.json_text import DEFAULT_DEPTH, Path, as_json
from sidecar.formats.openai_fields import unread
from sidecar.formats.reading import Reading, index_of, malformed
from sidecar.formats.same_shape import NO_ASIDES
from sidecar.formats.sse import EventSplitter, encode
from sidecar.formats.unsaid import block_says
from sidecar.model.decision import Cause

_DELTAS = {"text": "text_delta", "thinking": "thinking_delta", "partial_json": "input_json_delta"}
_DELTA_TYPES = frozenset({*_DELTAS.values(), "signature_delta", "citations_delta"})
_HELD = re.compile(r"content\[(\d+)\]\.(text|thinking|partial_json)")
_TYPES = (
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
    "ping",
    "error",
)


def anthropic_stream(*, max_depth: int = DEFAULT_DEPTH, conceal: bool = True) -> JsonEventStream:
    """AnswerStream of /v1/messages."""
    return JsonEventStream(
        MessageEvents(), EventSplitter(), max_depth=max_depth, conceal=conceal, text_of=_text_of
    )


def _text_of(location: str) -> str:
    held = _HELD.fullmatch(location)
    return "content" if held and held[2] == "text" else ""


class MessageEvents:
    """EventReader of this protocol. What it knows of open blocks follows what went out, not what was read ahead."""

    event_names = frozenset(kind.encode() for kind in _TYPES)
    repeats = True
    asides = NO_ASIDES

    def __init__(self) -> None:
        self._started = False
        self._open: dict[int, None] = {}
        self._told = False
        """The reason for the end is out."""
        self._stopped = False
        self._said = False
        """With a text or a call, or known to have none."""
        self._tokens = 0

    def read(self, value: dict[str, Any], reading: Reading) -> None:
        kind = value.get("type")
        known = isinstance(kind, str) and kind in _TYPES
        rest = {key: item for key, item in value.items() if key != "type" or not known}
        match kind:
            case "message_start" if isinstance(message := rest.pop("message", None), dict):
                head = {key: item for key, item in message.items() if key != "content"}
                _whole(reading, lambda reader: reader.answer(head), ("message",))
                begun = message.get("content")
                self._said = isinstance(begun, list) and any(map(block_says, begun))
                _begun(begun, reading)
                usage = message.get("usage")
                tokens = usage.get("output_tokens") if isinstance(usage, dict) else 0
                count = tokens if isinstance(tokens, int) else 0
                reading.mark = lambda: self._start(count)
            case "content_block_start" if isinstance(block := rest.pop("content_block", None), dict):
                index = index_of(rest.pop("index", None), 0)
                self._said = self._said or block_says(block)
                _block(block, index, ("content_block",), reading)
                reading.mark = lambda: self._open.update({index: None})
            case "content_block_delta" if isinstance(delta := rest.pop("delta", None), dict):
                self._said = self._said or bool(delta.get("text"))
                _delta(delta, index_of(rest.pop("index", None), 0), reading)
            case "content_block_stop":
                index = index_of(rest.pop("index", None), 0)
                reading.finished.append(f"content[{index}].")
                reading.mark = lambda: self._open.pop(index, None)
            case "message_delta":
                if _tells(rest.get("delta")) and (silent := self.unsaid()):
                    reading.unsaid(silent)
                    reading.finished.append("content[")
                reading.rest(
                    {key: rest.pop(key, None) for key in ("delta", "usage")},
                    (),
                    known=True,
                    words=ANTHROPIC_WORDS,
                )
                reading.mark = self._tell
            case "message_stop" | "error":
                if kind == "error":
                    self._said = True
                    reading.rest({"error": rest.pop("error", None)}, (), known=True)
                reading.final = True
                reading.mark = self._stop
            case _:
                pass
        reading.rest(rest, (), words=ANTHROPIC_WORDS)

    def again(self, said: Mapping[Path, bytes]) -> Any:  # noqa: ARG002
        return None

    def sent(self, mark: Any) -> Mapping[Path, str]:
        if mark is not None:
            mark()
        return {}

    def unsaid(self) -> Sequence[str]:
        silent, self._said = not self._said, True
        return ["content[0].text"] if silent else []

    def closing(self, pending: Sequence[TextPart]) -> bytes:
        out = bytearray()
        for part in pending:
            match = _HELD.fullmatch(part.location)
            if match is None:
                raise ValueError(f"no text stream of this protocol: {part.location}")
            delta = {"type": _DELTAS[match[2]], match[2]: part.text}
            out += _event("content_block_delta", index=int(match[1]), delta=delta)
        return bytes(out)

    def cut(self, decision_id: str, *, named: bool = True) -> bytes:  # noqa: ARG002 - it says none
        if self._stopped:
            return b""
        decision = {"decision": decision_id}
        if not self._started:
            return _error("The answer was withheld.", decision_id)
        out = bytearray()
        for index in self._open:
            out += _event("content_block_stop", index=index)
        if not self._told:
            delta = {"stop_reason": "refusal", "stop_sequence": None}
            usage = {"output_tokens": self._tokens}
            out += _event("message_delta", delta=delta, usage=usage, bartizan=decision)
        return bytes(out) + _event("message_stop")

    def fail(self, decision_id: str) -> bytes:
        return b"" if self._stopped else _error(UNDELIVERED, decision_id)

    def _start(self, tokens: int) -> None:
        self._started = True
        self._tokens = tokens

    def _tell(self) -> None:
        self._told = True

    def _stop(self) -> None:
        self._stopped = True


def _tells(delta: Any) -> bool:
    """Whether it says why the message ends."""
    return isinstance(delta, dict) and delta.get("stop_reason") is not None


def _begun(content: Any, reading: Reading) -> None:
    """Blocks that a message begins with: no server sends any, but clients would take them."""
    path: Path = ("message", "content")
    if not isinstance(content, list):
        reading.rest(content, path, known=True, words=ANTHROPIC_WORDS)
        return
    for number, block in enumerate(content):
        if not isinstance(block, dict):
            raise malformed("a content block is not an object")
        _block(block, index_of(None, number), (*path, number), reading)


def _block(block: dict[str, Any], index: int, path: Path, reading: Reading) -> None:
    """A block that begins. Its text, mostly empty, belongs to the deltas that follow; a tool's name is whole here."""
    streamed = [key for key in ("text", "thinking", "name") if isinstance(block.get(key), str)]
    for key in streamed:
        reading.text(block[key], (*path, key), f"content[{index}].{key}")
    if "name" in streamed:
        reading.finished.append(f"content[{index}].name")
        reading.indivisible = True
    if block.get("input"):
        reading.call(block["input"], f"content[{index}].input")
        reading.finished.append(f"content[{index}].")  # it flows now, so it is judged now
    rest = {key: item for key, item in block.items() if key not in streamed}
    _whole(reading, lambda reader: reader.block(rest, (), "assistant"), path)


def _delta(delta: dict[str, Any], index: int, reading: Reading) -> None:
    path: Path = ("delta",)
    name = f"content[{index}]"
    reading.text(delta.get("text"), (*path, "text"), f"{name}.text")
    reading.text(delta.get("thinking"), (*path, "thinking"), f"{name}.thinking")
    reading.json_text(delta.get("partial_json"), (*path, "partial_json"), f"{name}.partial_json")
    rest = unread(delta, _DELTAS)
    if isinstance(kind := rest.get("type"), str) and kind in _DELTA_TYPES:
        del rest["type"]
    if sealed(rest.get("signature")) and len(rest.pop("signature")) > MAX_IDENTIFIER:
        reading.unscanned["signature"] = None
    if (citation := rest.pop("citation", None)) is not None:
        reading.rest({"citation": citation}, path, known=True, words=ANTHROPIC_WORDS)
    reading.rest(rest, path, words=ANTHROPIC_WORDS)


def _whole(reading: Reading, read: Callable[[AnthropicReader], None], path: Path) -> None:
    """What a document reader finds in a part of the event."""
    reader = AnthropicReader(Cause.ANSWER_MALFORMED)
    read(reader)
    reading.whole(reader.texts, path)
    reading.unscanned.update(dict.fromkeys(reader.unscanned))


def _error(message: str, decision_id: str) -> bytes:
    error = {"type": "api_error", "message": message}
    return _event("error", error=error, bartizan={"decision": decision_id})


def _event(kind: str, **members: Any) -> bytes:
    data = as_json({"type": kind, **members}).encode()
    return encode(data, kind.encode())
