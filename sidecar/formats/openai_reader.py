"""Where text is in bodies of the OpenAI protocol: known fields by name, and every string of unknown ones.

What can't be read as text (images, token ids, encoded vectors) is named in `unscanned`.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn

from sidecar.formats.base import PROMPT_EMBEDS, TOKEN_IDS, FormatError
from sidecar.formats.documents import TextAt, strings
from sidecar.formats.embedded import embedded_texts
from sidecar.formats.json_text import Path, location
from sidecar.model.decision import Cause

# Fields by which the application defines the model's task: rules against role play don't apply to them.
_DEFINITIONS = (
    "tools",
    "functions",
    "response_format",
    "documents",
    "chat_template",
    "chat_template_kwargs",
    "prediction",
    "instructions",
)
_UNREADABLE = {
    "prompt_token_ids": TOKEN_IDS,
    "input_ids": TOKEN_IDS,
    "prompt_embeds": PROMPT_EMBEDS,
    "input_embeds": PROMPT_EMBEDS,
}
_PROMPTS = ("prompt", "input", "suffix")
_REQUEST_KEYS = frozenset(
    {"model", "messages", "encoding_format", "tool_choice", *_PROMPTS, *_DEFINITIONS, *_UNREADABLE}
)
_TEXT_KEYS = ("text", "refusal", "thinking")
_PART_KEYS = frozenset({"type", *_TEXT_KEYS})
_OTHER_PARTS = frozenset(
    {"image_url", "input_image", "image", "input_audio", "audio_url", "video_url", "file"}
)
_MESSAGE_TEXTS = ("content", "refusal", "reasoning_content", "reasoning", "name")
_MESSAGE_CALLS = ("tool_calls", "function_call")
_MESSAGE_KEYS = frozenset({"role", "type", "id", "tool_call_id", "audio", *_MESSAGE_TEXTS, *_MESSAGE_CALLS})
_CHOICE_KEYS = frozenset({"message", "text", "logprobs", "prompt_logprobs", "finish_reason"})
# What an engine says of itself, not the model: ids and fingerprints look like numbers of cards and phones.
_ANSWER_KEYS = frozenset(
    {
        "choices",
        "id",
        "object",
        "model",
        "system_fingerprint",
        "service_tier",
        "usage",
        "created",
        "prompt_logprobs",
    }
)

_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")


def _is_vector(value: Any) -> bool:
    """Numbers, or their bytes in base64, in which no text is looked for."""
    if isinstance(value, str):
        return len(value) % 4 == 0 and _BASE64.fullmatch(value) is not None
    return isinstance(value, list) and all(type(item) in (int, float) for item in value)


class OpenAIReader:
    """Walks one body and collects its texts. Anything of an unexpected type is refused with `cause`."""

    def __init__(self, cause: Cause, max_depth: int) -> None:
        self._cause = cause
        self._max_depth = max_depth
        self.texts: list[TextAt] = []
        self.unscanned: list[str] = []
        self.shadowed: dict[Path, Path] = {}

    def request(self, value: dict[str, Any]) -> None:
        messages = value.get("messages", [])
        if not isinstance(messages, list):
            self._refuse("messages is not a list")
        for index, message in enumerate(messages):
            self._message(message, ("messages", index))
        for key in _PROMPTS:
            self._prompt(value.get(key), (key,))
        for key in _DEFINITIONS:
            self.texts += strings(value.get(key), (key,), key, role="definition")
        for key, kind in _UNREADABLE.items():
            if value.get(key) is not None:
                self._pass(kind)
        self._rest(value, (), "other", _REQUEST_KEYS, role="user")

    def answer(self, value: dict[str, Any]) -> None:
        if "choices" not in value:
            self._unknown_answer(value)
            return
        choices = value.get("choices") or []
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
            if choice.get("prompt_logprobs") is not None:
                self._pass("prompt_logprobs")
            self._rest(choice, path, f"choices[{index}].other", _CHOICE_KEYS)
        if value.get("prompt_logprobs") is not None:
            self._pass("prompt_logprobs")
        self._rest(value, (), "other", _ANSWER_KEYS)

    def _unknown_answer(self, value: dict[str, Any]) -> None:
        """Embeddings, lists of models and whatever else an engine says: every string is text but encoded vectors."""
        rest, data = dict(value), value.get("data")
        if isinstance(data, list):
            del rest["data"]
            for index, item in enumerate(data):
                if isinstance(item, dict) and _is_vector(vector := item.get("embedding")):
                    if isinstance(vector, str):
                        self._pass("embedding")
                    rest_of_item = {key: part for key, part in item.items() if key != "embedding"}
                    self.texts += strings(rest_of_item, ("data", index), f"data[{index}]")
                else:
                    self.texts += strings(item, ("data", index), f"data[{index}]")
        self.texts += strings(rest, (), "answer")

    def _rest(
        self, value: dict[str, Any], path: Path, root: str, known: frozenset[str], role: str = ""
    ) -> None:
        """Strings of fields that this release does not know."""
        rest = {key: item for key, item in value.items() if key not in known}
        if rest:
            self.texts += strings(rest, path, root, role)

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
        self._rest(message, path, f"{path[0]}[{path[1]}].other", _MESSAGE_KEYS, role)

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
        for key in _TEXT_KEYS:
            self._string(part.get(key), (*path, key), role)
        if kind in _OTHER_PARTS:
            self._pass(kind)
        else:
            self._rest(part, path, f"{location(path)}.other", _PART_KEYS, role)

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
        elif isinstance(arguments, str):
            at: Path = (*path, "arguments")
            if arguments:
                self.texts += embedded_texts(arguments, at, location(at), role, self._max_depth)
        elif arguments is not None:
            self._refuse("arguments is neither string nor object")

    def _prompt(self, prompt: Any, path: Path) -> None:
        if not isinstance(prompt, list):
            self._string(prompt, path, "user")
            return
        for index, item in enumerate(prompt):
            match item:
                case str():
                    self._string(item, (*path, index), "user")
                case int() | list() if not isinstance(item, bool):
                    self._pass(TOKEN_IDS)
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
