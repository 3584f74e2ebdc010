"""Ids, names of models and whatever else a reader lists as no text because programs go by it.

No check edits them: what refers to what would be lost. But a model can write into them, so canaries and secrets are
looked for there, too. They are found as what is left: every short string of a body that is not among its texts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sidecar.formats.documents import TextAt
from sidecar.formats.json_text import KEY, Path

MAX_IDENTIFIER = 4_096
"""Characters. What is longer and no text is encoded: media, vectors, sealed reasoning; readers name it as unscanned."""
_READ = (str, list, dict)
_NAMED = frozenset({"embedding"})
"""Members that are encoded however short they are."""
_CONSTANTS = """
chat.completion chat.completion.chunk text_completion list response completed in_progress assistant tool system
developer user stop length tool_calls content_filter function_call message text output_text function tool_use
end_turn max_tokens text_delta thinking thinking_delta input_json_delta signature_delta message_start message_stop
message_delta content_block_start content_block_delta content_block_stop input_text image_url tool_result 2.0
float auto none default image document content search_result base64 url input_image redacted_thinking reasoning summary_text file
BYTES FP16 FP32 FP64 INT8 INT32 INT64 BOOL null string object number integer boolean array
"""
_WORDS = frozenset(_CONSTANTS.split())
"""Of the protocols themselves, in places of identifiers: nobody hides anything in them."""


def unlisted(value: Any, texts: Sequence[TextAt], *, most: int = MAX_IDENTIFIER) -> list[TextAt]:
    """Strings of a body that are not among its texts, each once, where it first stands."""
    listed = {at.path: at.embedded or at.text for at in texts}
    return [TextAt(path, text, identifier=True) for text, path in unseen(value, (), listed, most).items()]


def is_new(text: str, known: Collection[str]) -> bool:
    """Whether `unseen` would list this string, which is short."""
    return bool(text) and text not in _WORDS and text not in known


def unseen(
    value: Any, known: Collection[str], listed: Mapping[Path, str], most: int = MAX_IDENTIFIER
) -> dict[str, Path]:
    """Strings that are neither `known` nor at `listed` places and not longer than `most`, each with the path of one place.

    An identifier may say what a text of the same body says: it counts by where it stands.
    """
    there = _strings(value)
    new = {text for text in there if text not in _WORDS and text not in known and len(text) <= most}
    if not new:
        return {}
    if texts := [text for path, text in listed.items() if text in new and path[-1:] != (KEY,)]:
        times = Counter(there)
        new.difference_update(text for text, said in Counter(texts).items() if times[text] <= said)
    found: dict[str, Path] = {}
    stack: list[tuple[Any, Path]] = [(value, ())]
    while stack:
        here, at = stack.pop()
        if isinstance(here, str):
            if here in new and at not in listed:
                found.setdefault(here, at)
        elif isinstance(here, list):
            below = [(item, (*at, n)) for n, item in enumerate(here) if item and isinstance(item, _READ)]
            stack += reversed(below)
        elif isinstance(here, dict):
            stack += [(item, (*at, key)) for key, item in reversed(here.items()) if key not in _NAMED]
    return found


def _strings(value: Any) -> list[str]:
    """All that are not empty, without their places: mostly there is nothing new among them."""
    found: list[str] = []
    stack: list[Any] = [value]
    while stack:
        here = stack.pop()
        if isinstance(here, str):
            if here:
                found.append(here)
        elif isinstance(here, list):
            stack.extend(here)
        elif isinstance(here, dict):
            stack += [item for key, item in here.items() if key not in _NAMED]
    return found
