"""Streamed OpenAI answers: SSE chunks whose deltas are separate text streams, one per choice and field.

A location names the text stream by the protocol's own `index` ("choices[1].delta.content"), not by the position in
one chunk. Arguments of tool calls are JSON texts: their needless escapes are written out. Strings of fields that this
release doesn't know are texts too, each for itself. Where texts are checked, an event is cleaned before anybody sees
it: of what no check reads (log probabilities, token ids) and of all lines that are not its data.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sidecar.formats.base import FormatError, StreamPiece, TextPart
from sidecar.formats.documents import TextAt, strings
from sidecar.formats.embedded import Unescaper
from sidecar.formats.json_text import DEFAULT_DEPTH, Path, decode, has_surrogate, splice, string_token
from sidecar.formats.openai_fields import TEXTS, UNREADABLE, WORDS, engines_own, unread
from sidecar.formats.sse import Event, EventSplitter, encode
from sidecar.formats.walk import take_unreadable
from sidecar.model.decision import Cause

_MAX_INDEX = 127
_MAX_STREAMS = 256
_DONE = b"[DONE]"
_EVENT_NAMES = frozenset({b"message", b"error"})
_CALL = re.compile(r"choices\[(\d+)\]\.delta\.tool_calls\[(\d+)\]\.function\.arguments")
_FIELD = re.compile(r"choices\[(\d+)\]\.delta\.([a-z_]+)")
_OTHER = "other"
_LEGACY = re.compile(r"choices\[(\d+)\]\.text")


@dataclass(frozen=True, slots=True)
class _Chunk:
    """One decoded event."""

    event: Event
    text: str
    places: tuple[TextAt, ...]
    rewritten: frozenset[Path]
    """Places whose text is another writing of what the bytes say."""
    piece: StreamPiece


class OpenAIStream:
    """AnswerStream of this protocol. `legacy` is the shape of /v1/completions, used for what the guard adds."""

    def __init__(self, *, legacy: bool, max_depth: int = DEFAULT_DEPTH, conceal: bool = True) -> None:
        self._legacy = legacy
        self._conceal = conceal
        self._max_depth = max_depth
        self._splitter = EventSplitter()
        self._chunks: deque[_Chunk] = deque()
        self._envelope: dict[str, Any] = {}
        self._choices: set[int] = set()
        self._streams: set[str] = set()
        self._unescapers: dict[str, Unescaper] = {}

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
        edits = {
            place.path: string_token(text)
            for place, text in zip(chunk.places, texts, strict=True)
            if text != place.text or place.path in chunk.rewritten
        }
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
        if self._conceal:
            event = event.only_data(_EVENT_NAMES)
        if event.data is None or not event.data.strip():
            return _Chunk(event, "", (), frozenset(), StreamPiece(texts=()))
        if event.data.strip() == _DONE:
            return _Chunk(event, "", (), frozenset(), StreamPiece(texts=(), final=True))
        try:
            text, value = decode(event.data, max_depth=self._max_depth)
        except FormatError as error:
            raise FormatError(Cause.ANSWER_MALFORMED, error.detail) from None
        if not isinstance(value, dict):
            raise _malformed("an event is not an object")
        unreadable = take_unreadable(value, UNREADABLE)
        if self._conceal and unreadable:
            text = splice(text, {at: "null" for at, _ in unreadable})
            data = text.encode()
            event = Event(event.with_data(data), data)
        read = _Read(self._unescapers)
        read.event(value)
        self._choices |= read.choices
        self._streams.update(place.name for place in read.places)
        if len(self._streams) > _MAX_STREAMS:
            raise _malformed("too many text streams")
        if not self._envelope:
            keys = ("id", "object", "created", "model", "system_fingerprint")
            self._envelope = {key: value[key] for key in keys if engines_own(key, value.get(key))}
        texts = tuple(
            TextPart(location=place.name, text=place.text, role="assistant") for place in read.places
        )
        passed = [] if self._conceal else [name for _, name in unreadable]
        piece = StreamPiece(
            texts=texts,
            finished=tuple(read.finished),
            altered=bool(read.rewritten),
            unscanned=tuple(dict.fromkeys((*read.unscanned, *passed))),
        )
        return _Chunk(event, text, tuple(read.places), frozenset(read.rewritten), piece)


class _Read:
    """What one event holds."""

    def __init__(self, unescapers: dict[str, Unescaper]) -> None:
        self._unescapers = unescapers
        self.places: list[TextAt] = []
        self.finished: list[str] = []
        self.choices: set[int] = set()
        self.rewritten: list[Path] = []
        self.unscanned: list[str] = []
        self._others = 0

    def event(self, value: dict[str, Any]) -> None:
        choices = value.get("choices") or []
        if not isinstance(choices, list):
            raise _malformed("choices is not a list")
        for position, choice in enumerate(choices):
            if not isinstance(choice, dict):
                raise _malformed("a choice is not an object")
            self._choice(choice, position)
        rest = unread(value, ("choices",))
        if isinstance(fault := rest.get("error"), dict) and isinstance(fault.get("message"), str):
            rest["error"] = {key: item for key, item in fault.items() if key != "message"}
            self.places.append(TextAt(("error", "message"), fault["message"], name="error.message"))
            self.finished.append("error.")
        if (usage := rest.pop("usage", None)) is not None:
            self._rest({"usage": usage}, (), known=True)
        self._rest(rest, ())
        if self._others:
            self.finished.append(f"{_OTHER}#")

    def _choice(self, choice: dict[str, Any], position: int) -> None:
        index = _index(choice.get("index"), position)
        self.choices.add(index)
        path: Path = ("choices", position)
        name = f"choices[{index}]"
        _add(self.places, choice.get("text"), (*path, "text"), f"{name}.text")
        if (delta := choice.get("delta")) is not None:
            if not isinstance(delta, dict):
                raise _malformed("a delta is not an object")
            self._delta(delta, (*path, "delta"), f"{name}.delta")
        if choice.get("finish_reason") is not None:
            self.finished.append(f"{name}.")
        self._rest(unread(choice, ("text", "delta", "index")), path)

    def _delta(self, delta: dict[str, Any], path: Path, name: str) -> None:
        for key in TEXTS:
            _add(self.places, delta.get(key), (*path, key), f"{name}.{key}")
        calls = delta.get("tool_calls") or []
        if not isinstance(calls, list):
            raise _malformed("tool_calls is not a list")
        for position, call in enumerate(calls):
            if not isinstance(call, dict):
                raise _malformed("a tool call is not an object")
            index = _index(call.get("index"), position)
            at: Path = (*path, "tool_calls", position)
            self._rest(unread(call, ("index", "function")), at)
            self._function(
                call.get("function"), (*at, "function"), f"{name}.tool_calls[{index}].function.arguments"
            )
        self._function(delta.get("function_call"), (*path, "function_call"), f"{name}.function_call")
        self._rest(unread(delta, ("tool_calls", "function_call", *TEXTS)), path)

    def _function(self, function: Any, path: Path, name: str) -> None:
        if not isinstance(function, dict):
            self._rest({} if function is None else {"function": function}, path[:-1])
            return
        arguments = function.get("arguments")
        if isinstance(arguments, str) and arguments:
            plain = self._unescapers.setdefault(name, Unescaper()).feed(arguments)
            if plain != arguments:
                self.rewritten.append((*path, "arguments"))
            self.places.append(TextAt((*path, "arguments"), plain, name=name))
        elif arguments is not None and not isinstance(arguments, str):
            raise _malformed("arguments is not a string")
        self._rest(unread(function, ("arguments",)), path, known=True)

    def _rest(self, value: dict[str, Any], path: Path, *, known: bool = False) -> None:
        """Strings that are whole in this event, or of whose way over events nothing is known: then it says so."""
        for place in strings(value, path, _OTHER, known=WORDS) if value else ():
            if place.text:
                self._others += 1
                self.places.append(replace(place, name=f"{_OTHER}#{self._others}"))
                if not known and "unknown_field" not in self.unscanned:
                    self.unscanned.append("unknown_field")


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
