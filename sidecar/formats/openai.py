"""The OpenAI protocol: chat completions, completions and embeddings, as vLLM and others serve them.

Text is recognised by the fields of the body, not by the path, so that an engine's alias of a path is read the same.
Streams are in openai_stream.py.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from sidecar.formats.answers import decode_model_json, error_document
from sidecar.formats.base import AnswerStream, Document, FormatError
from sidecar.formats.documents import JsonDocument, TextAt, strings
from sidecar.formats.json_text import DEFAULT_DEPTH, Path, decode
from sidecar.formats.media_type import demand_json, parse
from sidecar.formats.openai_stream import OpenAIStream
from sidecar.model.decision import Cause
from sidecar.model.request import BodyFacts

# Fields that carry text for the model beside messages: every string below them may reach it.
_FREE_FIELDS = (
    "tools",
    "functions",
    "response_format",
    "documents",
    "chat_template",
    "chat_template_kwargs",
    "prediction",
    "instructions",
)
_TEXT_KEYS = ("text", "refusal", "thinking")
_OTHER_PARTS = frozenset(
    {"image_url", "input_image", "image", "input_audio", "audio_url", "video_url", "file"}
)
_MESSAGE_TEXTS = ("content", "refusal", "reasoning_content", "reasoning", "name")
_MESSAGE_CALLS = ("tool_calls", "function_call")
_NO_TEXT = frozenset({"role", "type", "id", "tool_call_id", "audio", *_MESSAGE_TEXTS, *_MESSAGE_CALLS})


class OpenAIFormat:
    """JSON bodies and SSE answers of the OpenAI API."""

    name = "openai"

    def __init__(self, *, max_depth: int = DEFAULT_DEPTH) -> None:
        self._max_depth = max_depth

    def decode_request(self, path: str, content_type: str, body: bytes) -> Document:  # noqa: ARG002
        demand_json(content_type)
        text, value = decode(body, max_depth=self._max_depth)
        if not isinstance(value, dict):
            raise FormatError(Cause.MALFORMED_BODY, "the body is not an object")
        reader = _Reader(Cause.MALFORMED_BODY)
        reader.request(value)
        return JsonDocument(body, text, facts=_facts(value), texts=reader.texts, unscanned=reader.unscanned)

    def decode_answer(self, path: str, content_type: str, body: bytes, status: int = 200) -> Document:  # noqa: ARG002
        kind, _ = parse(content_type)
        if not 200 <= status < 300:
            return error_document(kind, body, self._max_depth)
        text, value = decode_model_json(content_type, body, self._max_depth)
        if not isinstance(value, dict):
            raise FormatError(Cause.ANSWER_MALFORMED, "the answer is not an object")
        reader = _Reader(Cause.ANSWER_MALFORMED)
        reader.answer(value)
        return JsonDocument(
            body, text, texts=reader.texts, unscanned=reader.unscanned, shadowed=reader.shadowed
        )

    def answer_stream(self, path: str, content_type: str) -> AnswerStream | None:
        kind, _ = parse(content_type)
        if kind != "text/event-stream":
            return None
        return OpenAIStream(
            legacy=not path.rstrip("/").endswith("/chat/completions"), max_depth=self._max_depth
        )

    def error_body(self, status: int, message: str, decision_id: str) -> tuple[str, bytes]:
        kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
        kind = kinds.get(status, "invalid_request_error" if status < 500 else "server_error")
        error = {"message": message, "type": kind, "param": None, "code": f"bartizan_{decision_id}"}
        return "application/json", json.dumps({"error": error}).encode()


def _facts(value: dict[str, Any]) -> BodyFacts:
    """Strict types: an engine that coerces "true" to true would otherwise do what a rule did not see."""
    model, stream = value.get("model", ""), value.get("stream")
    if not isinstance(model, str) or not (stream is None or isinstance(stream, bool)):
        raise FormatError(Cause.MALFORMED_BODY, "model or stream is of the wrong type")
    limits = [0]
    for key in ("max_tokens", "max_completion_tokens"):
        limit = value.get(key)
        if isinstance(limit, bool) or not (limit is None or isinstance(limit, int)):
            raise FormatError(Cause.MALFORMED_BODY, f"{key} is not a whole number")
        limits.append(limit or 0)
    return BodyFacts(model=model, stream=stream is True, max_tokens=max(limits))


class _Reader:
    """Walks one body and collects its texts. Anything of an unexpected type is refused with `cause`."""

    def __init__(self, cause: Cause) -> None:
        self._cause = cause
        self.texts: list[TextAt] = []
        self.unscanned: list[str] = []
        self.shadowed: dict[Path, Path] = {}

    def request(self, value: dict[str, Any]) -> None:
        messages = value.get("messages", [])
        if not isinstance(messages, list):
            self._refuse("messages is not a list")
        for index, message in enumerate(messages):
            self._message(message, ("messages", index))
        for key in ("prompt", "input", "suffix"):
            self._prompt(value.get(key), (key,))
        for key in _FREE_FIELDS:
            self.texts += strings(value.get(key), (key,), key, role="definition")
        if value.get("prompt_embeds") is not None:
            self._pass("prompt_embeds")

    def answer(self, value: dict[str, Any]) -> None:
        choices = value.get("choices", [])
        if not isinstance(choices, list):
            self._refuse("choices is not a list")
        for index, choice in enumerate(choices):
            path: Path = ("choices", index)
            if not isinstance(choice, dict):
                self._refuse("a choice is not an object")
            if choice.get("message") is not None:
                self._message(choice["message"], (*path, "message"))
            self._string(choice.get("text"), (*path, "text"), "assistant")
            if choice.get("logprobs") is not None:
                self.shadowed[path] = (*path, "logprobs")
        self.texts += strings(value.get("error"), ("error",), "error")

    def _message(self, message: Any, path: Path) -> None:
        if not isinstance(message, dict):
            self._refuse("a message is not an object")
        role = message.get("role")
        role = role if isinstance(role, str) else ""
        for key in _MESSAGE_TEXTS:
            self._content(message.get(key), (*path, key), role)
        calls = message.get("tool_calls") or []
        if not isinstance(calls, list):
            self._refuse("tool_calls is not a list")
        for index, call in enumerate(calls):
            self._call(call, (*path, "tool_calls", index), role)
        if message.get("function_call") is not None:
            self._function(message["function_call"], (*path, "function_call"), role)
        if isinstance(audio := message.get("audio"), dict):
            self._string(audio.get("transcript"), (*path, "audio", "transcript"), role)
            self._pass("audio")
        rest = {key: item for key, item in message.items() if key not in _NO_TEXT}
        if rest:
            self.texts += strings(rest, path, f"{path[0]}[{path[1]}].other", role)

    def _content(self, content: Any, path: Path, role: str) -> None:
        if not isinstance(content, list):
            self._string(content, path, role)
            return
        for index, part in enumerate(content):
            at: Path = (*path, index)
            if isinstance(part, str):
                self._string(part, at, role)
            elif isinstance(part, dict):
                self._part(part, at, role)
            else:
                self._refuse("a content part is neither object nor string")

    def _part(self, part: dict[str, Any], path: Path, role: str) -> None:
        kind = part.get("type")
        if not any(key in part for key in _TEXT_KEYS) or kind in _OTHER_PARTS:
            self._pass(kind if kind in _OTHER_PARTS else "other")
        for key in _TEXT_KEYS:
            self._string(part.get(key), (*path, key), role)

    def _call(self, call: Any, path: Path, role: str) -> None:
        if not isinstance(call, dict):
            self._refuse("a tool call is not an object")
        for kind in ("function", "custom"):
            if call.get(kind) is not None:
                self._function(call[kind], (*path, kind), role)

    def _function(self, function: Any, path: Path, role: str) -> None:
        if not isinstance(function, dict):
            self._refuse("a function is not an object")
        for key in ("name", "input"):
            self._string(function.get(key), (*path, key), role)
        arguments = function.get("arguments")
        if isinstance(arguments, dict):  # some engines take the object itself
            self.texts += strings(arguments, (*path, "arguments"), f"{path[0]}[{path[1]}].arguments", role)
        else:
            self._string(arguments, (*path, "arguments"), role)

    def _prompt(self, prompt: Any, path: Path) -> None:
        if not isinstance(prompt, list):
            self._string(prompt, path, "user")
            return
        for index, item in enumerate(prompt):
            match item:
                case str():
                    self._string(item, (*path, index), "user")
                case int() | list() if not isinstance(item, bool):
                    self._pass("tokens")
                case dict():
                    self.texts += strings(item, (*path, index), f"{path[0]}[{index}]", "user")
                case _:
                    self._refuse("a prompt is of an unknown type")

    def _string(self, value: Any, path: Path, role: str) -> None:
        if isinstance(value, str):
            if value:
                self.texts.append(TextAt(path, value, role))
        elif value is not None:
            self._refuse(f"{path[-1]} is not a string")

    def _pass(self, kind: Any) -> None:
        name = str(kind)
        if name not in self.unscanned:
            self.unscanned.append(name)

    def _refuse(self, detail: str) -> NoReturn:
        raise FormatError(self._cause, detail)
