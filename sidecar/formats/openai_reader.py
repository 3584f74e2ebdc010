"""Where text is in bodies of the OpenAI protocol: known fields by name, and every string of unknown ones.

What can't be read as text (images, token ids, encoded vectors) is named in `unscanned`.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any, NoReturn

from sidecar.formats.base import DEFINITION, FILE_DATA, PROMPT_EMBEDS, TOKEN_IDS, FormatError
from sidecar.formats.documents import ImageAt, TextAt, strings
from sidecar.formats.embedded import embedded_texts
from sidecar.formats.images import openai_media
from sidecar.formats.json_text import Path, location
from sidecar.formats.openai_fields import (
    BASE64,
    CALLS,
    MEDIA,
    PART_TEXTS,
    ROLES,
    TEXTS,
    TYPES,
    WORDS,
    is_item,
    is_vector,
    shaped,
    unread,
)
from sidecar.formats.parts import mark_messages, mark_parts
from sidecar.model.decision import Cause

# Fields by which the application defines the model's task: rules against role play don't apply to them.
_DEFINITIONS = (
    *("tools", "functions", "response_format"),
    *("chat_template", "chat_template_kwargs", "prediction", "instructions"),
)
_UNREADABLE = {
    "prompt_token_ids": TOKEN_IDS,
    "input_ids": TOKEN_IDS,
    "prompt_embeds": PROMPT_EMBEDS,
    "input_embeds": PROMPT_EMBEDS,
}
_PROMPTS = ("prompt", "input", "suffix")
LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "n_predict")
"""Fields that bound an answer's length."""
_READ_APART = frozenset({"messages", "documents", *_PROMPTS, *_DEFINITIONS, *_UNREADABLE})
READ_IN_REQUESTS = frozenset({*_READ_APART, "model", "stream", *LIMITS})
"""Fields of a request that mean something here."""
_MESSAGE_TEXTS = (*TEXTS, "name")
_MESSAGE_KEYS = frozenset({"role", "audio", "tool_calls", "function_call", *_MESSAGE_TEXTS})
_AUDIO_KEYS = frozenset({"data", "transcript"})
_FUNCTION_TEXTS = ("name", "input")
_MOMENTS = frozenset({"created", "created_at", "expires_at"})


class OpenAIReader:
    """Walks one body and collects its texts. Anything of an unexpected type is refused with `cause`."""

    def __init__(self, cause: Cause, max_depth: int) -> None:
        self._cause = cause
        self._answer = cause is Cause.ANSWER_MALFORMED
        self._max_depth = max_depth
        self.texts: list[TextAt] = []
        self.unscanned: list[str] = []
        self.objects: list[Path] = []
        self.images: list[ImageAt] = []

    def request(self, value: dict[str, Any]) -> None:
        self.images, media = openai_media(value)
        self.unscanned += media
        messages = value.get("messages", [])
        if not isinstance(messages, list):
            self._refuse("messages is not a list")
        for index, message in enumerate(messages):
            self._message(message, ("messages", index))
        for key in _PROMPTS:
            self._prompt(value.get(key), (key,))
        for key in _DEFINITIONS:
            self.texts += strings(value.get(key), (key,), key, DEFINITION, WORDS)
        if isinstance(text := value.get("text"), dict):  # how a response is to be written
            self.texts += strings(text.get("format"), ("text", "format"), "text.format", DEFINITION, WORDS)
            self._rest(text, ("text",), "text", {"format"}, "user")
        self.texts += strings(value.get("documents"), ("documents",), "documents", "tool", WORDS)
        for key, kind in _UNREADABLE.items():
            if value.get(key) is not None:
                self._pass(kind)
        settings = {key for key in ("model", "encoding_format") if shaped(value.get(key))}
        if type(value.get("seed")) is int:
            settings.add("seed")
        settings |= {"text"} if isinstance(text, dict) else set()
        self._rest(value, (), "other", _READ_APART | settings, "user")

    def answer(self, value: dict[str, Any]) -> None:
        if "choices" not in value:
            if isinstance(output := value.get("output"), list):
                for index, item in enumerate(output):
                    self.item(item, ("output", index))
                mark_messages(self.texts, output)
                value = {key: member for key, member in value.items() if key != "output"}
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
            self._rest(choice, path, f"choices[{index}].other", {"message", "text"})
        self._rest(value, (), "other", {"choices"})

    def item(self, item: Any, path: Path) -> None:
        """One item of the Responses API: a message, a call, what came of it, a piece of reasoning, or a newer one."""
        kind = item.get("type") if isinstance(item, dict) else None
        if not isinstance(kind, str) or not is_item(kind):
            self._message(item, path)
        elif kind in CALLS:
            self._function(item, path, "assistant")
        else:
            role = "assistant" if kind == "reasoning" else "tool"
            known = {"type"}
            for key in ("summary", "content", "output"):
                if isinstance(item.get(key), str | list):
                    known.add(key)
                    self._content(item[key], (*path, key), role)
            if isinstance(sealed := item.get("encrypted_content"), str) and BASE64.fullmatch(sealed):
                known.add("encrypted_content")
                self._pass("encrypted_content")
            self._rest(item, path, f"{location(path)}.other", known, role)

    def _unknown_answer(self, value: dict[str, Any]) -> None:
        """Embeddings, lists of models and whatever else an engine says: every string is text but encoded vectors."""
        rest, data = unread(value, ()), value.get("data")
        if isinstance(data, list):
            del rest["data"]
            for index, item in enumerate(data):
                read = item
                if isinstance(item, dict) and is_vector(vector := item.get("embedding")):
                    if isinstance(vector, str):
                        self._pass("embedding")
                    read = {key: part for key, part in item.items() if key != "embedding"}
                self._strings(read, ("data", index), f"data[{index}]")
        self._strings(rest, (), "answer")

    def _strings(self, value: Any, path: Path, root: str, role: str = "") -> None:
        """Every text of a value of unknown shape."""
        texts = strings(value, path, root, role, WORDS)
        if self._answer:
            texts = [at for at in texts if not (at.path[-1] in _MOMENTS and at.text.isdigit())]
        elif any(at.path[-1] == FILE_DATA for at in texts):
            self._pass(FILE_DATA)
        self.texts += texts

    def _rest(
        self, value: dict[str, Any], path: Path, root: str, known: Container[str], role: str = ""
    ) -> None:
        """Texts of fields that this release does not know."""
        if self._answer:
            rest = unread(value, known)
        else:
            rest = {key: item for key, item in value.items() if key not in known}
        kind = rest.get("type")
        if isinstance(kind, str) and kind in TYPES:
            del rest["type"]
        if rest:
            self._strings(rest, path, root, role)

    def _message(self, message: Any, path: Path) -> None:
        if not isinstance(message, dict):
            self._refuse("a message is not an object")
        role = self._role(message.get("role"))
        for key in _MESSAGE_TEXTS:
            self._content(message.get(key), (*path, key), role)
        calls = message.get("tool_calls") or []
        if not isinstance(calls, list):
            self._refuse("tool_calls is not a list")
        for index, call in enumerate(calls):
            self._call(call, (*path, "tool_calls", index), role)
        if message.get("function_call") is not None:
            self._function(message["function_call"], (*path, "function_call"), role)
        root = location(path)
        if isinstance(audio := message.get("audio"), dict):
            self._string(audio.get("transcript"), (*path, "audio", "transcript"), role)
            self._pass("audio")
            self._rest(audio, (*path, "audio"), f"{root}.audio", _AUDIO_KEYS, role)
        elif audio is not None:
            self._strings(audio, (*path, "audio"), f"{root}.audio", role)
        known = _MESSAGE_KEYS - {"role"} if self._answer else _MESSAGE_KEYS
        self._rest(message, path, f"{root}.other", known, role)

    def _role(self, role: Any) -> str:
        """A client's roles are those of the protocol: checks go by them, and templates print them."""
        if self._answer:
            return "assistant"
        if role is not None and not (isinstance(role, str) and role in ROLES):
            self._refuse("a role is of no known name")
        return role or ""

    def _content(self, content: Any, path: Path, role: str) -> None:
        if not isinstance(content, list):
            self._string(content, path, role)
            return
        start = len(self.texts)
        for index, part in enumerate(content):
            at: Path = (*path, index)
            if isinstance(part, str):
                self._string(part, at, role)
            elif isinstance(part, dict):
                self.part(part, at, role)
            else:
                self._refuse("a content part is neither object nor string")
        mark_parts(self.texts, start, path, PART_TEXTS)

    def part(self, part: dict[str, Any], path: Path, role: str) -> None:
        """One part of a message."""
        kind = part.get("type")
        if not (kind is None or isinstance(kind, str)):
            self._refuse("a part's type is not a string")
        for key in PART_TEXTS:  # Mistral's models think in parts
            (self._content if key == "thinking" else self._string)(part.get(key), (*path, key), role)
        known = {*PART_TEXTS}
        if kind in MEDIA:
            self._pass(PROMPT_EMBEDS if kind == "image_embeds" else kind)
            known.update(MEDIA[kind])
        part = self._without_file_data(part)
        if isinstance(file := part.get("file"), dict):
            part = {**part, "file": self._without_file_data(file)}
        self._rest(part, path, f"{location(path)}.other", known, role)

    def _without_file_data(self, value: dict[str, Any]) -> dict[str, Any]:
        """A file that engines write out into the prompt."""
        if value.get(FILE_DATA) is None:
            return value
        self._pass(FILE_DATA)
        return {key: item for key, item in value.items() if key != FILE_DATA}

    def _call(self, call: Any, path: Path, role: str) -> None:
        if not isinstance(call, dict):
            self._refuse("a tool call is not an object")
        for kind in ("function", "custom"):
            if call.get(kind) is not None:
                self._function(call[kind], (*path, kind), role)
        self._rest(call, path, f"{location(path)}.other", ("function", "custom"), role)

    def _function(self, function: Any, path: Path, role: str) -> None:
        if not isinstance(function, dict):
            self._refuse("a function is not an object")
        for key in _FUNCTION_TEXTS:
            self._string(function.get(key), (*path, key), role)
        arguments, at = function.get("arguments"), (*path, "arguments")
        if isinstance(arguments, dict):  # some engines take the object itself
            self.texts += strings(arguments, at, location(at), role)
            self.objects.append(at)
        elif isinstance(arguments, str):
            if arguments:
                self.texts += embedded_texts(arguments, at, location(at), role, self._max_depth)
        elif arguments is not None:
            self._refuse("arguments is neither string nor object")
        self._rest(function, path, f"{location(path)}.other", (*_FUNCTION_TEXTS, "arguments"), role)

    def _prompt(self, prompt: Any, path: Path) -> None:
        if isinstance(prompt, dict):  # a stored prompt by its id, and what fills it in
            self._strings(prompt, path, location(path), "user")
            return
        if not isinstance(prompt, list):
            self._string(prompt, path, "user")
            return
        for index, item in enumerate(prompt):
            match item:
                case str():
                    self._string(item, (*path, index), "user")
                case int() | list() if not isinstance(item, bool):
                    self._pass(TOKEN_IDS)
                case dict() if "role" in item or is_item(item.get("type")):
                    self.item(item, (*path, index))
                case dict():
                    self.part(item, (*path, index), "user")
                case _:
                    self._refuse("a prompt is of an unknown type")

    def _string(self, value: Any, path: Path, role: str) -> None:
        if isinstance(value, str):
            if value:
                self.texts.append(TextAt(path, value, role))
        elif value is not None:
            self._refuse(f"{path[-1]} is not a string")

    def _pass(self, kind: Any) -> None:
        if (name := str(kind)) not in self.unscanned:
            self.unscanned.append(name)

    def _refuse(self, detail: str) -> NoReturn:
        raise FormatError(self._cause, detail)
