"""Ollama's own protocol: chat, generate and embed, streamed as lines of JSON unless a request says otherwise.

Its messages are like OpenAI's, so their reader reads them. https://github.com/ollama/ollama/blob/main/docs/api.md
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sidecar.formats import parameters, unsaid
from sidecar.formats.answers import readable
from sidecar.formats.base import DEFINITION, TOKEN_IDS, UNDELIVERED, AnswerStream, Document, TextPart
from sidecar.formats.bodies import answer_document, request_document
from sidecar.formats.documents import ImageAt, TextAt, strings
from sidecar.formats.event_stream import JsonEventStream
from sidecar.formats.images import ollama_images
from sidecar.formats.json_text import DEFAULT_DEPTH, Path, as_json
from sidecar.formats.media_type import is_utf8, kind
from sidecar.formats.ndjson import MEDIA_TYPES, LineSplitter
from sidecar.formats.openai_fields import WORDS, engines_own
from sidecar.formats.openai_reader import OpenAIReader
from sidecar.formats.reading import Reading
from sidecar.formats.same_shape import WORD, Asides
from sidecar.model.decision import Cause

_DEFINITIONS = ("system", "template", "format")
_READ_IN_REQUESTS = frozenset(
    {"model", "stream", "messages", "prompt", "input", "suffix", "images", "context", "options", "tools"}
    | {*_DEFINITIONS}
)
_COUNTS = frozenset(
    f"{part}{what}" for part in ("total", "load", "prompt_eval", "eval") for what in ("_duration", "_count")
)
"""Nanoseconds and tokens: as long as phone numbers."""
_ASIDES: Asides = {("created_at",): WORD}
_STREAMED = ("response", "thinking")
_OF_MESSAGE = ("content", "thinking")


class OllamaFormat:
    """JSON bodies and NDJSON answers of /api/*. `conceal` as for the OpenAI protocol."""

    name = "ollama"

    def __init__(self, *, max_depth: int = DEFAULT_DEPTH, conceal: bool = True) -> None:
        self._max_depth = max_depth
        self._conceal = conceal

    def decode_request(self, path: str, content_type: str, body: bytes) -> Document:
        return request_document(
            content_type,
            body,
            self._max_depth,
            OllamaReader(Cause.MALFORMED_BODY, self._max_depth),
            known=_READ_IN_REQUESTS,
            asks=parameters.OLLAMA,
            limits=("num_predict",),
            within="options",
            streams=path.endswith(("/chat", "/generate")),
        )

    def decode_answer(self, path: str, content_type: str, body: bytes, status: int = 200) -> Document:  # noqa: ARG002
        reader = OllamaReader(Cause.ANSWER_MALFORMED, self._max_depth)
        return answer_document(
            content_type,
            status,
            body,
            self._max_depth,
            reader,
            conceal=self._conceal,
            unsaid=unsaid.of_ollama,
        )

    def reads_answer(self, path: str, content_type: str, status: int) -> bool:  # noqa: ARG002
        return readable(content_type, status) or (status < 300 and _is_lines(content_type))

    def answer_stream(self, path: str, content_type: str) -> AnswerStream | None:
        if not _is_lines(content_type):
            return None
        events = OllamaEvents(self._max_depth, chat=path.endswith("/chat"))
        return JsonEventStream(events, LineSplitter(), max_depth=self._max_depth, conceal=self._conceal)

    def error_body(self, status: int, message: str, decision_id: str) -> tuple[str, bytes]:  # noqa: ARG002
        return "application/json", json.dumps({"error": message, "decision": decision_id}).encode()


class OllamaReader:
    """Walks one body and collects its texts, pictures and tokens apart."""

    def __init__(self, cause: Cause, max_depth: int) -> None:
        self._reader = OpenAIReader(cause, max_depth)
        self._images: list[ImageAt] = []

    @property
    def texts(self) -> Sequence[TextAt]:
        return self._reader.texts

    @property
    def unscanned(self) -> Sequence[str]:
        return self._reader.unscanned

    @property
    def objects(self) -> Sequence[Path]:
        return self._reader.objects

    @property
    def images(self) -> Sequence[ImageAt]:
        return [*self._images, *self._reader.images]

    def request(self, value: dict[str, Any]) -> None:
        rest = self._without_images(value, ())
        if isinstance(messages := rest.get("messages"), list):
            rest["messages"] = [
                self._without_images(message, ("messages", number)) if isinstance(message, dict) else message
                for number, message in enumerate(messages)
            ]
        if rest.pop("context", None) is not None:  # the talk so far, as tokens
            self._reader.unscanned.append(TOKEN_IDS)
        for key in _DEFINITIONS:
            self._reader.texts += strings(rest.pop(key, None), (key,), key, DEFINITION, WORDS)
        self._reader.request(rest)

    def answer(self, value: dict[str, Any]) -> None:
        rest = {key: item for key, item in value.items() if not _engines(key, item)}
        for key in _STREAMED:
            if isinstance(rest.get(key), str):
                self._reader.texts.append(TextAt((key,), rest.pop(key), "assistant"))
        if isinstance(message := rest.pop("message", None), dict):
            self._reader.item(message, ("message",))
        elif message is not None:
            rest["message"] = message
        self._reader.texts += strings(rest, (), "answer", "", WORDS)

    def _without_images(self, value: dict[str, Any], path: Path) -> dict[str, Any]:
        self._images += ollama_images(value, path)
        return {key: item for key, item in value.items() if key.casefold() != "images"}


class OllamaEvents:
    """EventReader: deltas of one message or one text, calls of tools whole."""

    event_names = frozenset[bytes]()
    repeats = True
    asides = _ASIDES

    def __init__(self, max_depth: int, *, chat: bool) -> None:
        self._max_depth = max_depth
        self._chat = chat
        self._envelope: dict[str, Any] = {}
        self._calls = 0
        self._said = False

    def read(self, value: dict[str, Any], reading: Reading) -> None:
        rest = {key: item for key, item in value.items() if not _engines(key, item)}
        message = value.get("message")
        said = value.get("response") or "error" in value
        self._said = self._said or bool(said) or (isinstance(message, dict) and unsaid.message_says(message))
        for key in _STREAMED:
            reading.text(rest.pop(key, None), (key,), key)
        if isinstance(message := rest.pop("message", None), dict):
            for key in _OF_MESSAGE:
                reading.text(message.get(key), ("message", key), f"message.{key}")
            calls = {key: item for key, item in message.items() if key not in _OF_MESSAGE}
            if isinstance(calls.get("tool_calls"), list):
                calls["tool_calls"] = [
                    self._call(call, ("message", "tool_calls", position), reading)
                    for position, call in enumerate(calls["tool_calls"])
                ]
            reader = OpenAIReader(Cause.ANSWER_MALFORMED, self._max_depth)
            reader.item(calls, ())
            reading.whole(reader.texts, ("message",))
        elif message is not None:
            rest["message"] = message
        reading.rest(rest, (), known="error" in rest)
        reading.final = value.get("done") is True or "error" in value
        if not self._envelope:
            keys = ("model", "created_at")
            self._envelope = {key: value[key] for key in keys if engines_own(key, value.get(key))}

    def _call(self, call: Any, path: Path, reading: Reading) -> Any:
        """List a call's name and object under the call's own number; what is left of it is read like a document."""
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            return call
        name = f"message.tool_calls[{self._calls}].function"
        self._calls += 1
        if isinstance(function.get("name"), str):
            reading.text(function["name"], (*path, "function", "name"), f"{name}.name")
            function = {key: item for key, item in function.items() if key != "name"}
        if isinstance(function.get("arguments"), dict):
            reading.call(function["arguments"], f"{name}.arguments")
        reading.finished.append(f"{name}.")
        reading.indivisible = True
        return {**call, "function": function}

    def unsaid(self) -> Sequence[str]:
        silent, self._said = not self._said, True
        return ["message.content" if self._chat else "response"] if silent else []

    def again(self, said: Mapping[Path, bytes]) -> Any:  # noqa: ARG002
        return None

    def sent(self, mark: Any) -> Mapping[Path, str]:  # noqa: ARG002
        return {}

    def closing(self, pending: Sequence[TextPart]) -> bytes:
        return b"".join(self._line({part.location: part.text}) for part in pending)

    def cut(self, decision_id: str, *, named: bool = True) -> bytes:
        if not named:
            self._envelope = {}
        ended = {"done_reason": "content_filter", "bartizan": {"decision": decision_id}}
        return self._line({"message.content" if self._chat else "response": ""}, done=True, **ended)

    def fail(self, decision_id: str) -> bytes:
        return as_json({"error": UNDELIVERED, "bartizan": {"decision": decision_id}}).encode() + b"\n"

    def _line(self, texts: dict[str, str], *, done: bool = False, **more: Any) -> bytes:
        line: dict[str, Any] = dict(self._envelope)
        for place, text in texts.items():
            outer, _, inner = place.partition(".")
            line[outer] = {"role": "assistant", "content": "", inner: text} if inner else text
        return as_json({**line, "done": done, **more}).encode() + b"\n"


def _engines(key: str, value: Any) -> bool:
    return engines_own(key, value) or (key in _COUNTS and type(value) is int) or value is None


def _is_lines(content_type: str) -> bool:
    return kind(content_type) in MEDIA_TYPES and is_utf8(content_type)
