"""What validators see of items of the Responses API: calls of tools by name and arguments, texts of messages.

A stream says an item several times (added, done, in the response); clients may take any of them, so each is judged.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sidecar.formats.base import TextPart
from sidecar.formats.openai_fields import CALLS

_CALL = "_call"
STREAMS = {
    "function_call": "response.function_call_arguments",
    "mcp_call": "response.mcp_call_arguments",
    "custom_tool_call": "response.custom_tool_call_input",
}
"""What carries a call's arguments in a stream, by the item's type."""


def built_in(kind: Any) -> str:
    """The name of a tool that is an item's type ("web_search" of "web_search_call"), else ""."""
    return (
        kind.removesuffix(_CALL)
        if isinstance(kind, str) and kind.endswith(_CALL) and kind not in CALLS
        else ""
    )


def judged(item: Any, place: str) -> list[TextPart]:
    """Of one item that is whole: names and arguments of a call, or texts that are not empty."""
    if not isinstance(item, dict):
        return []
    kind = item.get("type")
    if name := built_in(kind):
        return [TextPart(location=f"{place}.name", text=name)]
    if isinstance(kind, str) and kind in CALLS:
        said = {key: item[key] for key in ("name", "arguments", "input") if item.get(key)}
        return [TextPart(location=f"{place}.{key}", text=_text(value)) for key, value in said.items()]
    content = item.get("content")
    if isinstance(content, str):
        content = [{"text": content}]
    return [
        TextPart(location=f"{place}.content[{number}].text", text=part["text"])
        for number, part in enumerate(content if isinstance(content, list) else ())
        if (kind == "message" or not isinstance(kind, str))
        and isinstance(part, dict)
        and part.get("text")
        and isinstance(part["text"], str)
    ]


def implied(answer: dict[str, Any]) -> dict[str, str]:
    """Of a whole response: built-in tools that it calls, which no text of it names."""
    output = answer.get("output")
    items: Sequence[Any] = output if isinstance(output, list) and "choices" not in answer else ()
    kinds = [built_in(item.get("type")) if isinstance(item, dict) else "" for item in items]
    return {f"output[{number}].name": name for number, name in enumerate(kinds) if name}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
