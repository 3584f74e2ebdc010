"""The Model Context Protocol over streamable HTTP: JSON-RPC messages, one in a body or one in each event of a stream.

Every string of a message is text: arguments of tools, their results, resources, prompts, descriptions. Pictures,
sound and binary resources in base64 are named in `unscanned`. https://modelcontextprotocol.io/specification
"""

from __future__ import annotations

import base64
import json
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from sidecar.formats.answers import decode_model_json, error_document, readable
from sidecar.formats.base import FILE_DATA, UNDELIVERED, AnswerStream, Document, FormatError, TextPart
from sidecar.formats.coded_text import coded_text
from sidecar.formats.documents import JsonDocument, TextAt, strings
from sidecar.formats.event_stream import JsonEventStream
from sidecar.formats.faults import MODEL_ERROR, take_traces
from sidecar.formats.identifiers import MAX_IDENTIFIER
from sidecar.formats.json_text import DEFAULT_DEPTH, Path, decode, location
from sidecar.formats.media_type import demand_json, is_event_stream
from sidecar.formats.openai_fields import shaped
from sidecar.formats.reading import Reading
from sidecar.formats.same_shape import NO_ASIDES
from sidecar.formats.sse import MAX_WHOLE_BYTES, EventSplitter, encode
from sidecar.model.decision import Cause

_WORDS = """
jsonrpc id method params result error code message data name arguments content type text uri mimeType blob resource
resources resourceTemplates uriTemplate tools prompts messages role title description inputSchema outputSchema
annotations audience priority lastModified structuredContent isError _meta progressToken progress total nextCursor
cursor protocolVersion capabilities clientInfo serverInfo version listChanged subscribe logging level logger roots
sampling elicitation instructions model modelPreferences hints systemPrompt maxTokens stopReason ref argument value
completion values hasMore requestId reason properties required items enum default format additionalProperties
readOnlyHint destructiveHint idempotentHint openWorldHint requestedSchema action completions icons src sizes
"""
WORDS = frozenset(_WORDS.split())
"""Keys that the protocol itself names."""
_TYPES = frozenset(
    {
        "text",
        "image",
        "audio",
        "resource",
        "resource_link",
        "object",
        "string",
        "number",
        "integer",
        "boolean",
        "array",
        "null",
    }
)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]*={0,2}")
_NOT_CONTENT = frozenset({"arguments", "structuredContent", "_meta"})
"""Members whose objects are of the application's own making."""
_MEDIA = re.compile(
    rb"\x89PNG\r\n|\xff\xd8\xff|GIF8[79]a|RIFF|II\*\x00|MM\x00\*|.{4}ftyp|ID3|OggS|fLaC|\x1aE\xdf\xa3|\xff[\xe2-\xfb]",
    re.DOTALL,
)
"""How pictures and sound begin."""
_METHOD = re.compile(r"[A-Za-z0-9_$/.-]{1,128}")
_WITHHELD = -32001
"""JSON-RPC leaves -32000 to -32099 to servers."""


class McpFormat:
    """JSON-RPC 2.0 in JSON bodies and SSE answers. Batches are refused: the protocol has none since 2025-06-18."""

    name = "mcp"

    def __init__(self, *, max_depth: int = DEFAULT_DEPTH, conceal: bool = True) -> None:
        self._max_depth = max_depth
        self._conceal = conceal

    def decode_request(self, path: str, content_type: str, body: bytes) -> Document:  # noqa: ARG002
        demand_json(content_type)
        text, value = decode(body, max_depth=self._max_depth, any_case=True)
        texts, unscanned = _read(value, "user", Cause.MALFORMED_BODY)
        return JsonDocument(body, text, texts=texts, unscanned=unscanned)

    def decode_answer(self, path: str, content_type: str, body: bytes, status: int = 200) -> Document:  # noqa: ARG002
        if not 200 <= status < 300:
            return error_document(content_type, status, body, self._max_depth)
        text, value = decode_model_json(content_type, body, self._max_depth)
        traces = take_traces(value)
        texts, unscanned = _read(value, "tool", Cause.ANSWER_MALFORMED)
        unscanned += [MODEL_ERROR] * bool(traces)
        return JsonDocument(body, text, texts=texts, unscanned=unscanned, replaced=traces)

    def reads_answer(self, path: str, content_type: str, status: int) -> bool:  # noqa: ARG002
        return readable(content_type, status) or (status < 300 and is_event_stream(content_type))

    def answer_stream(self, path: str, content_type: str) -> AnswerStream | None:  # noqa: ARG002
        if not is_event_stream(content_type):
            return None
        return JsonEventStream(
            McpEvents(), EventSplitter(MAX_WHOLE_BYTES), max_depth=self._max_depth, conceal=self._conceal
        )

    def error_body(self, status: int, message: str, decision_id: str) -> tuple[str, bytes]:  # noqa: ARG002
        return "application/json", _error(None, message, decision_id)


class McpEvents:
    """EventReader: each event is a whole message, with texts of its own."""

    event_names = frozenset({b"message"})
    repeats = False
    asides = NO_ASIDES

    def __init__(self) -> None:
        self._waiting: deque[Any] = deque()
        """Of messages that were read and have not gone out: the id of the request that each answers, or None."""

    def read(self, value: dict[str, Any], reading: Reading) -> None:
        texts, unscanned = _read(value, "tool", Cause.ANSWER_MALFORMED)
        reading.whole(texts, ())
        reading.unscanned.update(dict.fromkeys(unscanned))
        self._waiting.append(None if "method" in value else value.get("id"))

    def again(self, said: Mapping[Path, bytes]) -> Any:  # noqa: ARG002
        return None

    def sent(self, mark: Any) -> Mapping[Path, str]:  # noqa: ARG002
        self._waiting.popleft()
        return {}

    def unsaid(self) -> Sequence[str]:
        return ()

    def closing(self, pending: Sequence[TextPart]) -> bytes:
        raise ValueError(f"no text of this protocol goes over events: {[part.location for part in pending]}")

    def cut(self, decision_id: str, *, named: bool = True) -> bytes:
        """An error in place of the answer that is withheld; nothing where it was no answer."""
        return self._instead("The answer was withheld.", decision_id) if named else b""

    def fail(self, decision_id: str) -> bytes:
        return self._instead(UNDELIVERED, decision_id)

    def _instead(self, message: str, decision_id: str) -> bytes:
        withheld = self._waiting[0] if self._waiting else None
        if not (type(withheld) is int or shaped(withheld)):
            return b""
        return encode(_error(withheld, message, decision_id), b"message")


def _error(request: Any, message: str, decision_id: str) -> bytes:
    error = {"code": _WITHHELD, "message": message, "data": {"decision": decision_id}}
    return json.dumps({"jsonrpc": "2.0", "id": request, "error": error}).encode()


def _read(value: Any, role: str, cause: Cause) -> tuple[list[TextAt], list[str]]:
    """Texts of one message, and what in it can't be read. Raises FormatError with `cause`."""
    if isinstance(value, list):
        raise FormatError(cause, "a batch of messages")
    if not isinstance(value, dict) or value.get("jsonrpc") != "2.0":
        raise FormatError(cause, "not a JSON-RPC 2.0 message")
    if sum(key in value for key in ("method", "result", "error")) != 1:
        raise FormatError(cause, "neither a request nor a notification nor an answer")
    method = value.get("method", "m")
    if not (isinstance(method, str) and _METHOD.fullmatch(method)):
        raise FormatError(cause, "the method is no name")
    binary = dict(_binary(value))
    files = ((at, coded_text(written)) for at, (kind, written) in binary.items() if kind == FILE_DATA)
    coded = {at: text for at, text in files if text is not None}
    known = {"jsonrpc", "method"}
    if shaped(value.get("id")) or type(value.get("id")) is int:
        known.add("id")
    named = [key for key in ("method", "id") if shaped(value.get(key))]
    identifiers = [TextAt((key,), value[key], identifier=True) for key in named]
    if role == "tool":
        identifiers += [
            TextAt(at, text, identifier=True)
            for at, (_, text) in binary.items()
            if len(text) <= MAX_IDENTIFIER
        ]
    rest = {key: item for key, item in value.items() if key not in known}
    # what a request asks for is arguments of a program, and no prompt
    params = strings(rest.pop("params", None), ("params",), "params.other", role, WORDS)
    texts = [*params, *strings(rest, (), "message", role, WORDS)]
    texts = [
        at for at in texts if at.path not in binary and not (at.path[-1] == "type" and at.text in _TYPES)
    ]
    texts = [_in_message(at) for at in texts]
    texts += [TextAt(at, text.text, role, coded=text) for at, text in coded.items() if text.text]
    unread = (kind for at, (kind, _) in binary.items() if at not in coded)
    return [*texts, *identifiers], list(dict.fromkeys(unread))


def _in_message(at: TextAt) -> TextAt:
    """A text of a list of content blocks is a part of one text: clients hand them to their models together."""
    match at.path:
        case (*_, "content", int(), "text") if _NOT_CONTENT.isdisjoint(at.path):
            return msgspec.structs.replace(at, joins=location(at.path[:-2]))
        case _:
            return at


def _binary(value: dict[str, Any]) -> Iterator[tuple[Path, tuple[str, str]]]:
    """Places of base64 of pictures, sound and binary resources, each with its kind and what stands there.

    Only where the protocol has them, and only what begins like a picture or sound: a word that is put there instead
    stays text.
    """
    stack: list[tuple[Any, Path]] = [(value, ())]
    while stack:
        here, at = stack.pop()
        if isinstance(here, list):
            stack.extend((item, (*at, number)) for number, item in enumerate(here))
        elif isinstance(here, dict):
            kind, media = here.get("type"), here.get("data")
            if _in_content(at) and kind in ("image", "audio") and isinstance(media, str) and _is_media(media):
                yield (*at, "data"), (kind, media)
            blob = here.get("blob")
            if "uri" in here and isinstance(blob, str) and _BASE64.fullmatch("".join(blob.split())):
                yield (*at, "blob"), (FILE_DATA, blob)
            stack.extend((item, (*at, key)) for key, item in here.items() if key not in _NOT_CONTENT)


def _in_content(at: Path) -> bool:
    """Whether it is a content block: by the nearest key."""
    return next((step for step in reversed(at) if isinstance(step, str)), "") == "content"


def _is_media(text: str) -> bool:
    if not _BASE64.fullmatch(text):
        return False
    start = text.rstrip("=")[:16].replace("-", "+").replace("_", "/")
    return _MEDIA.match(base64.b64decode(start[: len(start) // 4 * 4])) is not None
