"""Streamed OpenAI answers: SSE chunks whose deltas are separate text streams, one per choice and field.

A location names the text stream by the protocol's own `index` ("choices[1].delta.content"), not by the position in
one chunk. Log probabilities repeat the text token by token, so they go when a chunk's text is changed.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sidecar.formats.base import FormatError, StreamPiece, TextPart
from sidecar.formats.documents import TextAt
from sidecar.formats.json_text import DEFAULT_DEPTH, Path, decode, has_surrogate, splice, string_token
from sidecar.formats.sse import Event, EventSplitter, encode
from sidecar.model.decision import Cause

_FIELDS = ("content", "reasoning_content", "reasoning", "refusal")
_MAX_INDEX = 127
_MAX_STREAMS = 256
_DONE = b"[DONE]"
_CALL = re.compile(r"choices\[(\d+)\]\.delta\.tool_calls\[(\d+)\]\.function\.arguments")
_FIELD = re.compile(r"choices\[(\d+)\]\.delta\.([a-z_]+)")
_LEGACY = re.compile(r"choices\[(\d+)\]\.text")


@dataclass(frozen=True, slots=True)
class _Chunk:
    """One decoded event."""

    event: Event
    text: str
    places: tuple[TextAt, ...]
    logprobs: tuple[Path, ...]
    piece: StreamPiece


class OpenAIStream:
    """AnswerStream of this protocol. `legacy` is the shape of /v1/completions, used for what the guard adds."""

    def __init__(self, *, legacy: bool, max_depth: int = DEFAULT_DEPTH) -> None:
        self._legacy = legacy
        self._max_depth = max_depth
        self._splitter = EventSplitter()
        self._chunks: deque[_Chunk] = deque()
        self._envelope: dict[str, Any] = {}
        self._choices: set[int] = set()
        self._streams: set[str] = set()

    def feed(self, chunk: bytes, *, end: bool) -> None:
        for event in self._splitter.feed(chunk, end=end):
            self._chunks.append(self._read(event))

    def events(self) -> Sequence[StreamPiece]:
        return [chunk.piece for chunk in self._chunks]

    def take(self, texts: Sequence[str] | None) -> bytes:
        chunk = self._chunks.popleft()
        if texts is None:
            return chunk.event.raw
        if any(has_surrogate(text) for text in texts):
            raise ValueError("text that UTF-8 can't carry")
        edits = {place.path: string_token(text) for place, text in zip(chunk.places, texts, strict=True)}
        edits.update(dict.fromkeys(chunk.logprobs, "null"))
        return chunk.event.with_data(splice(chunk.text, edits).encode())

    def closing(self, pending: Sequence[TextPart]) -> bytes:
        return b"".join(self._chunk([_choice(part.location, part.text)]) for part in pending)

    def cut(self, decision_id: str) -> bytes:
        body: dict[str, Any] = {"text": ""} if self._legacy else {"delta": {}}
        choices = [
            {"index": index, **body, "finish_reason": "content_filter"}
            for index in sorted(self._choices or {0})
        ]
        return self._chunk(choices, bartizan={"decision": decision_id}) + encode(_DONE)

    def _chunk(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        chunk = {**self._envelope, "choices": choices, **more}
        return encode(json.dumps(chunk, ensure_ascii=False).encode())

    def _read(self, event: Event) -> _Chunk:
        if event.data is None or not event.data.strip():
            return _Chunk(event, "", (), (), StreamPiece(texts=()))
        if event.data.strip() == _DONE:
            return _Chunk(event, "", (), (), StreamPiece(texts=(), final=True))
        try:
            text, value = decode(event.data, max_depth=self._max_depth)
        except FormatError as error:
            raise FormatError(Cause.ANSWER_MALFORMED, error.detail) from None
        if not isinstance(value, dict):
            raise _malformed("an event is not an object")
        places, logprobs, finished = self._choices_of(value)
        if isinstance(fault := value.get("error"), dict) and isinstance(fault.get("message"), str):
            places.append(TextAt(("error", "message"), fault["message"], name="error.message"))
            finished.append("error.")
        self._streams.update(place.name for place in places)
        if len(self._streams) > _MAX_STREAMS:
            raise _malformed("too many text streams")
        if not self._envelope:
            keys = ("id", "object", "created", "model", "system_fingerprint")
            self._envelope = {key: value[key] for key in keys if key in value}
        texts = tuple(TextPart(location=place.name, text=place.text, role="assistant") for place in places)
        piece = StreamPiece(texts=texts, finished=tuple(finished))
        return _Chunk(event, text, tuple(places), tuple(logprobs), piece)

    def _choices_of(self, value: dict[str, Any]) -> tuple[list[TextAt], list[Path], list[str]]:
        places: list[TextAt] = []
        logprobs: list[Path] = []
        finished: list[str] = []
        choices = value.get("choices") or []
        if not isinstance(choices, list):
            raise _malformed("choices is not a list")
        for position, choice in enumerate(choices):
            if not isinstance(choice, dict):
                raise _malformed("a choice is not an object")
            index = _index(choice.get("index"), position)
            self._choices.add(index)
            path: Path = ("choices", position)
            name = f"choices[{index}]"
            _add(places, choice.get("text"), (*path, "text"), f"{name}.text")
            if (delta := choice.get("delta")) is not None:
                if not isinstance(delta, dict):
                    raise _malformed("a delta is not an object")
                _add_delta(places, delta, (*path, "delta"), f"{name}.delta")
            if choice.get("logprobs") is not None:
                logprobs.append((*path, "logprobs"))
            if choice.get("finish_reason") is not None:
                finished.append(f"{name}.")
        return places, logprobs, finished


def _add_delta(places: list[TextAt], delta: dict[str, Any], path: Path, name: str) -> None:
    for key in _FIELDS:
        _add(places, delta.get(key), (*path, key), f"{name}.{key}")
    calls = delta.get("tool_calls") or []
    if not isinstance(calls, list):
        raise _malformed("tool_calls is not a list")
    for position, call in enumerate(calls):
        if not isinstance(call, dict):
            raise _malformed("a tool call is not an object")
        function = call.get("function")
        if isinstance(function, dict):
            at: Path = (*path, "tool_calls", position, "function", "arguments")
            index = _index(call.get("index"), position)
            _add(places, function.get("arguments"), at, f"{name}.tool_calls[{index}].function.arguments")
    if isinstance(function := delta.get("function_call"), dict):
        _add(
            places, function.get("arguments"), (*path, "function_call", "arguments"), f"{name}.function_call"
        )


def _add(places: list[TextAt], text: Any, path: Path, name: str) -> None:
    if isinstance(text, str):
        if text:
            places.append(TextAt(path, text, name=name))
    elif text is not None:
        raise _malformed(f"{path[-1]} is not a string")


def _index(value: Any, position: int) -> int:
    index = position if value is None else value
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index <= _MAX_INDEX:
        raise _malformed("an index is out of range")
    return index


def _choice(location: str, text: str) -> dict[str, Any]:
    """A choice that carries held-back text of one text stream."""
    if match := _CALL.fullmatch(location):
        call = {"index": int(match[2]), "function": {"arguments": text}}
        return {"index": int(match[1]), "delta": {"tool_calls": [call]}, "finish_reason": None}
    if match := _LEGACY.fullmatch(location):
        return {"index": int(match[1]), "text": text, "finish_reason": None}
    if match := _FIELD.fullmatch(location):
        delta = {"function_call": {"arguments": text}} if match[2] == "function_call" else {match[2]: text}
        return {"index": int(match[1]), "delta": delta, "finish_reason": None}
    raise ValueError(f"no text stream of this protocol: {location}")


def _malformed(detail: str) -> FormatError:
    return FormatError(Cause.ANSWER_MALFORMED, detail)
