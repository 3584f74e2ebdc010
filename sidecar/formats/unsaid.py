"""Where an answer says nothing at all: an empty text is no text to most checks, but an answer by a schema must have one.

An answer that calls a tool or declines says something. Streams keep the same account themselves, event by event.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_INSTEAD = ("refusal", "tool_calls", "function_call", "audio")
"""Members of a message that stand for its content."""


def of_openai(answer: dict[str, Any]) -> Sequence[str]:
    """Of chats and completions, and of responses."""
    choices, output = answer.get("choices"), answer.get("output")
    if isinstance(choices, list):
        unsaid = [place for number, choice in enumerate(choices) for place in _of_choice(choice, number)]
        return unsaid if choices else ["choices[0].message.content"]
    if isinstance(output, list) and answer.get("status") != "failed":
        return [] if any(map(_item_says, output)) else ["output[0].content[0].text"]
    return []


def of_anthropic(answer: dict[str, Any]) -> Sequence[str]:
    """Of messages."""
    content = answer.get("content")
    if not isinstance(content, list):
        return ["content[0].text"] if answer.get("type") == "message" and not content else []
    return [] if any(map(block_says, content)) else ["content[0].text"]


def of_ollama(answer: dict[str, Any]) -> Sequence[str]:
    """Of chats and of generated texts."""
    message = answer.get("message")
    if isinstance(message, dict):
        return [] if message_says(message) else ["message.content"]
    return ["response"] if answer.get("response") == "" else []


def message_says(message: dict[str, Any]) -> bool:
    """Whether a message of OpenAI or Ollama has content or what stands for it."""
    content = message.get("content")
    parts = any(map(_part_says, content)) if isinstance(content, list) else bool(content)
    return parts or any(message.get(key) for key in _INSTEAD)


def block_says(block: Any) -> bool:
    """Whether a block of Anthropic's is a text or a call; what a model thinks is no answer."""
    return isinstance(block, dict) and bool(
        block.get("text") or str(block.get("type", "")).endswith("tool_use")
    )


def _of_choice(choice: Any, number: int) -> Sequence[str]:
    if not isinstance(choice, dict):
        return []
    message = choice.get("message")
    if isinstance(message, dict):
        return [] if message_says(message) else [f"choices[{number}].message.content"]
    return [] if choice.get("text") else [f"choices[{number}].text"]


def _item_says(item: Any) -> bool:
    if not isinstance(item, dict):
        return False
    kind = item.get("type")
    return message_says(item) if kind in (None, "message") else str(kind).endswith("_call")


def _part_says(part: Any) -> bool:
    return isinstance(part, str | dict) and bool(
        part if isinstance(part, str) else part.get("text") or part.get("refusal")
    )
