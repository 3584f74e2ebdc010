"""Streamed OpenAI answers: SSE chunks whose deltas are separate text streams, one per choice and field.

A location names the text stream by the protocol's own `index` ("choices[1].delta.content"), not by the position in
one chunk. Arguments of tool calls are JSON texts: their needless escapes are written out. Strings of fields that this
release doesn't know are texts too, each for itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sidecar.formats.base import UNDELIVERED, TextPart
from sidecar.formats.event_stream import DONE, JsonEventStream
from sidecar.formats.json_text import DEFAULT_DEPTH, Path, as_json
from sidecar.formats.openai_fields import TEXTS, engines_own, padding, unread
from sidecar.formats.reading import Reading, index_of, malformed
from sidecar.formats.same_shape import MOMENT, NUMBER, PADDING, Asides
from sidecar.formats.sse import EventSplitter, encode
from sidecar.formats.streamed_calls import StreamedCalls
from sidecar.formats.unsaid import message_says

_CALL = re.compile(
    r"choices\[(\d+)\]\.delta\.tool_calls\[(\d+)\](?:'\d+)?\.(function|custom)\.(arguments|input)"
)
_FIELD = re.compile(r"choices\[(\d+)\]\.delta\.([a-z_]+)")
_LEGACY = re.compile(r"choices\[(\d+)\]\.text")

_PADDING = "obfuscation"
_ASIDES: Asides = {
    ("created",): MOMENT,
    **{("usage", f"{what}_tokens"): NUMBER for what in ("prompt", "completion", "total")},
    (_PADDING,): PADDING,
}
"""Some servers say the time and the count of tokens in every event, or pad it."""


def openai_stream(*, legacy: bool, max_depth: int = DEFAULT_DEPTH, conceal: bool = True) -> JsonEventStream:
    """AnswerStream of chat completions; `legacy` is the shape of /v1/completions, used for what the guard adds."""
    return JsonEventStream(ChatEvents(legacy=legacy), EventSplitter(), max_depth=max_depth, conceal=conceal)


class ChatEvents:
    """EventReader of chat completions and completions."""

    event_names = frozenset({b"message", b"error"})
    repeats = True
    asides = _ASIDES

    def __init__(self, *, legacy: bool) -> None:
        self._legacy = legacy
        self._envelope: dict[str, Any] = {}
        self._choices: set[int] = set()
        self._said: set[int] = set()
        """Choices with content or a call, or known to have none."""
        self._failed = False
        self._calls = StreamedCalls()

    def read(self, value: dict[str, Any], reading: Reading) -> None:
        choices = value.get("choices") or []
        if not isinstance(choices, list):
            raise malformed("choices is not a list")
        for position, choice in enumerate(choices):
            if not isinstance(choice, dict):
                raise malformed("a choice is not an object")
            self._choice(choice, position, reading)
        rest = unread(value, ("choices",))
        if isinstance(fault := rest.get("error"), dict) and isinstance(fault.get("message"), str):
            rest["error"] = {key: item for key, item in fault.items() if key != "message"}
            reading.text(fault["message"], ("error", "message"), "error.message")
            reading.finished.append("error.")
        self._failed = self._failed or "error" in rest
        if padding(rest.get(_PADDING)):
            del rest[_PADDING]
        if (usage := rest.pop("usage", None)) is not None:
            reading.rest({"usage": usage}, (), known=True)
        reading.rest(rest, ())
        if not self._envelope:
            keys = ("id", "object", "created", "model", "system_fingerprint")
            self._envelope = {key: value[key] for key in keys if engines_own(key, value.get(key))}

    def again(self, said: Mapping[Path, bytes]) -> Any:  # noqa: ARG002
        return None

    def sent(self, mark: Any) -> Mapping[Path, str]:  # noqa: ARG002
        return {}

    def unsaid(self) -> Sequence[str]:
        if self._failed:
            return ()
        silent = sorted((self._choices or {0}) - self._said)
        self._choices.update(silent)
        self._said.update(silent)
        return [self._content(index) for index in silent]

    def _content(self, index: int) -> str:
        return f"choices[{index}].text" if self._legacy else f"choices[{index}].delta.content"

    def closing(self, pending: Sequence[TextPart]) -> bytes:
        return b"".join(self._chunk([_held(part.location, part.text)]) for part in pending)

    def cut(self, decision_id: str, *, named: bool = True) -> bytes:
        if not named:
            self._envelope = {}
        body: dict[str, Any] = {"text": ""} if self._legacy else {"delta": {}}
        choices = [
            {"index": index, **body, "finish_reason": "content_filter"}
            for index in sorted(self._choices or {0})
        ]
        return self._chunk(choices, bartizan={"decision": decision_id}) + encode(DONE)

    def fail(self, decision_id: str) -> bytes:
        error = {
            "message": UNDELIVERED,
            "type": "server_error",
            "param": None,
            "code": f"bartizan_{decision_id}",
        }
        return encode(as_json({"error": error}).encode()) + encode(DONE)

    def _chunk(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        chunk = {**self._envelope, "choices": choices, **more}
        return encode(as_json(chunk).encode())

    def _choice(self, choice: dict[str, Any], position: int, reading: Reading) -> None:
        index = index_of(choice.get("index"), position)
        self._choices.add(index)
        path: Path = ("choices", position)
        name = reading.indexed[path] = f"choices[{index}]"
        reading.text(choice.get("text"), (*path, "text"), f"{name}.text")
        if (delta := choice.get("delta")) is not None:
            if not isinstance(delta, dict):
                raise malformed("a delta is not an object")
            self._delta(delta, (*path, "delta"), f"{name}.delta", reading)
        if _says(choice.get("text"), choice.get("delta")):
            self._said.add(index)
        if choice.get("finish_reason"):  # some servers say "" until the last piece
            reading.finished.append(f"{name}.")
            if index not in self._said:
                self._said.add(index)
                reading.unsaid([self._content(index)])
        reading.rest(unread(choice, ("text", "delta", "index")), path)

    def _delta(self, delta: dict[str, Any], path: Path, name: str, reading: Reading) -> None:
        for key in TEXTS:
            if key == "content" and isinstance(delta.get(key), list):
                _parts(delta[key], (*path, key), name, key, reading)
            else:
                reading.text(delta.get(key), (*path, key), f"{name}.{key}")
        calls = delta.get("tool_calls") or []
        if not isinstance(calls, list):
            raise malformed("tool_calls is not a list")
        for position, call in enumerate(calls):
            if not isinstance(call, dict):
                raise malformed("a tool call is not an object")
            at: Path = (*path, "tool_calls", position)
            index = index_of(call.get("index"), position)
            reading.indexed[at] = f"{name}.tool_calls[{index}]"
            place, ended = self._calls.place(reading.indexed[at], call)
            if isinstance(call.get("id"), str):
                reading.ids.append(((*at, "id"), call["id"]))
            if ended:
                reading.finished.append(f"{ended}.")
            reading.rest(unread(call, ("index", "function", "custom")), at)
            _function(call.get("function"), (*at, "function"), f"{place}.function.arguments", reading)
            if isinstance(custom := call.get("custom"), dict):
                _name(custom, (*at, "custom"), f"{place}.custom", reading)
                reading.text(custom.get("input"), (*at, "custom", "input"), f"{place}.custom.input")
                custom = unread(custom, ("input", "name"))
            reading.rest({"custom": custom} if custom else {}, at, known=True)
        _function(delta.get("function_call"), (*path, "function_call"), f"{name}.function_call", reading)
        rest = unread(delta, ("tool_calls", "function_call", *TEXTS))
        if isinstance(audio := rest.get("audio"), dict):
            reading.text(audio.get("transcript"), (*path, "audio", "transcript"), f"{name}.audio")
            if isinstance(audio.get("data"), str):
                reading.unscanned["audio"] = None
            rest["audio"] = unread(audio, ("data", "transcript", "expires_at"))
        reading.rest(rest, path)


def _says(text: Any, delta: Any) -> bool:
    """Whether a choice's piece is a part of an answer."""
    return bool(text) or (isinstance(delta, dict) and message_says(delta))


def _parts(parts: list[Any], path: Path, name: str, stream: str, reading: Reading) -> None:
    """Content in parts, as reasoning models of Mistral stream it: texts of one kind are one text stream."""
    for position, part in enumerate(parts):
        at: Path = (*path, position)
        if not isinstance(part, dict):
            raise malformed("a content part is not an object")
        reading.text(part.get("text"), (*at, "text"), f"{name}.{stream}")
        thinking = part.get("thinking")
        if isinstance(thinking, list):
            _parts(thinking, (*at, "thinking"), name, "thinking", reading)
        else:
            reading.text(thinking, (*at, "thinking"), f"{name}.thinking")
        reading.rest(unread(part, ("text", "thinking")), at)


def _function(function: Any, path: Path, name: str, reading: Reading) -> None:
    if not isinstance(function, dict):
        reading.rest({} if function is None else {"function": function}, path[:-1])
        return
    _name(function, path, name.removesuffix(".arguments"), reading)
    reading.json_text(function.get("arguments"), (*path, "arguments"), name)
    reading.rest(unread(function, ("arguments", "name")), path, known=True)


def _name(called: dict[str, Any], path: Path, place: str, reading: Reading) -> None:
    if called.get("name") is not None:
        reading.name(called["name"], (*path, "name"), f"{place}.name")


def _held(location: str, text: str) -> dict[str, Any]:
    """A choice that carries held-back text of one text stream."""
    if match := _CALL.fullmatch(location):
        call = {"index": int(match[2]), match[3]: {match[4]: text}}
        return {"index": int(match[1]), "delta": {"tool_calls": [call]}, "finish_reason": None}
    if match := _LEGACY.fullmatch(location):
        return {"index": int(match[1]), "text": text, "finish_reason": None}
    if match := _FIELD.fullmatch(location):
        delta: dict[str, Any] = {match[2]: text}
        match match[2]:
            case "function_call":
                delta = {"function_call": {"arguments": text}}
            case "audio":
                delta = {"audio": {"transcript": text}}
            case "thinking":
                thought = {"type": "thinking", "thinking": [{"type": "text", "text": text}]}
                delta = {"content": [thought]}
            case _:
                pass
        return {"index": int(match[1]), "delta": delta, "finish_reason": None}
    raise ValueError(f"no text stream of this protocol: {location}")
