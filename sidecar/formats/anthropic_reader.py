"""Where text is in bodies of the Anthropic Messages protocol: content blocks by their fields, unknown ones by the walk.

https://docs.anthropic.com/en/api/messages names the blocks. What can't be read as text (images, encrypted reasoning)
is named in `unscanned`; a document that engines write out into the prompt is file data, unless it is plain text.
"""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Any, NoReturn

from sidecar.formats.base import DEFINITION, FILE_DATA, FormatError
from sidecar.formats.documents import ImageAt, TextAt, strings
from sidecar.formats.identifiers import MAX_IDENTIFIER
from sidecar.formats.images import anthropic_image
from sidecar.formats.json_text import Path, location
from sidecar.formats.openai_fields import WORDS, shaped, unread
from sidecar.formats.parts import mark_parts
from sidecar.model.decision import Cause

_WORDS = """
system content type text thinking signature data tools tool_choice name description input_schema input id source
media_type title context citations cited_text document_title document_index start_char_index end_char_index
start_page_number end_page_number file_id url cache_control ttl metadata user_id is_error tool_use_id caller
stop_sequence stop_sequences stop_reason stop_details budget_tokens max_uses allowed_domains blocked_domains
encrypted_content encrypted_index page_age server_tool_use web_search_requests web_fetch_requests enabled
cache_creation_input_tokens cache_read_input_tokens cache_creation ephemeral_5m_input_tokens
ephemeral_1h_input_tokens input_tokens output_tokens service_tier container expires_at inference_geo
"""
ANTHROPIC_WORDS = WORDS | frozenset(_WORDS.split())
"""Keys that the protocol itself names."""
_ROLES = frozenset({"user", "assistant"})
_DEFINITIONS = ("tools", "mcp_servers", "output_format", "output_config")
_READ_APART = frozenset({"messages", "system", *_DEFINITIONS})
READ_IN_REQUESTS = frozenset({"model", "stream", "max_tokens", *_READ_APART})
"""Fields of a request that mean something here."""
_TEXTS = ("text", "thinking", "name", "title", "context")
_SEALED = re.compile(r"[A-Za-z0-9+/_=-]*")
_SEALS = ("signature", "encrypted_content", "encrypted_index")
"""What the provider encrypted or signed for itself."""
_NESTED = frozenset({"tool_result", "mcp_tool_result", "search_result"})
_BLOCKS = """
text image document search_result thinking redacted_thinking tool_use tool_result server_tool_use mcp_tool_use
mcp_tool_result web_search_tool_result web_search_result web_fetch_tool_result web_fetch_result container_upload
message base64 url file content
"""
_TYPES = frozenset(_BLOCKS.split())


class AnthropicReader:
    """Walks one body and collects its texts. Anything of an unexpected type is refused with `cause`."""

    def __init__(self, cause: Cause) -> None:
        self._cause = cause
        self._answer = cause is Cause.ANSWER_MALFORMED
        self.texts: list[TextAt] = []
        self.unscanned: list[str] = []
        self.objects: list[Path] = []
        self.images: list[ImageAt] = []

    def request(self, value: dict[str, Any]) -> None:
        self._content(value.get("system"), ("system",), "system")
        messages = value.get("messages", [])
        if not isinstance(messages, list):
            self._refuse("messages is not a list")
        for number, message in enumerate(messages):
            path: Path = ("messages", number)
            if not isinstance(message, dict):
                self._refuse("a message is not an object")
            role = message.get("role")
            if not (isinstance(role, str) and role in _ROLES):
                self._refuse("a role is neither user nor assistant")
            self._content(message.get("content"), (*path, "content"), role)
            self._rest(message, path, {"role", "content"}, role)
        for key in _DEFINITIONS:
            self.texts += strings(value.get(key), (key,), key, DEFINITION, ANTHROPIC_WORDS)
        known = _READ_APART | {key for key in ("model", "service_tier") if shaped(value.get(key))}
        self._rest(value, (), known, "user")

    def answer(self, value: dict[str, Any]) -> None:
        known = {key for key in ("stop_reason",) if shaped(value.get(key))}
        if isinstance(value.get("content"), list):
            self._content(value["content"], ("content",), "assistant")
            known.add("content")
        self._rest(value, (), known, "assistant")

    def block(self, block: Any, path: Path, role: str) -> None:
        """One content block."""
        if not isinstance(block, dict):
            self._refuse("a content block is not an object")
        kind = block.get("type")
        if not isinstance(kind, str):
            self._refuse("a block's type is not a string")
        if kind in _NESTED and not self._answer:
            role = "tool"
        for key in _TEXTS:
            self._string(block.get(key), (*path, key), role)
        known = {*_TEXTS}
        if "source" in block:
            known.add("source")
            self._source(block["source"], kind, (*path, "source"), role)
        if isinstance(block.get("content"), list | str):
            known.add("content")
            self._content(block["content"], (*path, "content"), role)
        if "input" in block:
            known.add("input")
            self.texts += strings(block["input"], (*path, "input"), location((*path, "input")), role)
            self.objects.append((*path, "input"))
        if kind == "redacted_thinking" and sealed(block.get("data")):
            known.add("data")
            self._pass(kind)
        for key in _SEALS:
            if sealed(block.get(key)):
                known.add(key)
                if len(block[key]) > MAX_IDENTIFIER:
                    self._pass(key)
        self._rest(block, path, known, role)

    def _source(self, source: Any, kind: str, path: Path, role: str) -> None:
        """Of an image or document: bytes, a place to fetch them from, or text."""
        if not isinstance(source, dict):
            if kind == "image":
                self._refuse("the source of an image is not an object")
            self._string(source, path, role)  # a search result names its source
            return
        known: set[str] = set()
        form, data = source.get("type"), source.get("data")
        if parts := isinstance(source.get("content"), list | str):
            known.add("content")
            self._content(source["content"], (*path, "content"), role)
        written = form == "text" and isinstance(data, str)
        if not written and not (parts and form == "content" and data is None):
            self._pass("image" if kind == "image" else FILE_DATA)
            if kind == "image":
                self.images.append(anthropic_image(source, path))
            if sealed(data):
                known.add("data")
        self._rest(source, path, known, role)

    def _content(self, content: Any, path: Path, role: str) -> None:
        if not isinstance(content, list):
            self._string(content, path, role)
            return
        start = len(self.texts)
        for number, block in enumerate(content):
            self.block(block, (*path, number), role)
        mark_parts(self.texts, start, path, ("text",))

    def _rest(self, value: dict[str, Any], path: Path, known: Container[str], role: str) -> None:
        """Texts of fields that this release does not know, citations among them."""
        if self._answer:
            rest = unread(value, known)
        else:
            rest = {key: item for key, item in value.items() if key not in known}
        kind = rest.get("type")
        if isinstance(kind, str) and kind in _TYPES:
            del rest["type"]
        if rest:
            root = f"{location(path)}.other" if path else "other"
            self.texts += strings(rest, path, root, role, ANTHROPIC_WORDS)

    def _string(self, value: Any, path: Path, role: str) -> None:
        if isinstance(value, str):
            if value:
                self.texts.append(TextAt(path, value, role))
        elif value is not None:
            self._refuse(f"{path[-1]} is not a string")

    def _pass(self, name: str) -> None:
        if name not in self.unscanned:
            self.unscanned.append(name)

    def _refuse(self, detail: str) -> NoReturn:
        raise FormatError(self._cause, detail)


def sealed(value: Any) -> bool:
    """Whether it looks like what the provider encrypted or signed: one word of base64."""
    return isinstance(value, str) and _SEALED.fullmatch(value) is not None
