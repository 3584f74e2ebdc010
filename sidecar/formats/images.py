"""Where pictures and other media are in JSON bodies: the places that engines read them from, whatever a part says it is.

Found by one walk beside the reader of texts, because engines go by the members that a part has: vLLM, for one, takes a
part without a type. What a place holds in no form that we know is `stored`: nobody can look at it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sidecar.formats.base import PROMPT_EMBEDS
from sidecar.formats.documents import ImageAt
from sidecar.formats.json_text import Path

_NOT_SHOWN = frozenset({"arguments", "tool_calls", "function_call", "metadata"})
"""Members that are text to a model, whatever they name."""
_TASK = frozenset({"tools", "functions", "response_format", "metadata"})
"""Members of a request in which schemas and examples of them may name pictures."""
_HOLDERS = (list, dict)
_WITH_FILES = frozenset({"input_image", "computer_screenshot", "image_file"})
_IMAGES = frozenset({"image_url", "image", *_WITH_FILES})
_KEPT = ("file_id", "uuid")
"""By them an engine may take what it keeps, whatever picture stands beside them (vLLM: `uuid`)."""
_OTHER_MEDIA = {
    **{key: key for key in ("video_url", "audio_url", "input_audio")},
    **dict.fromkeys(("image_embeds", "audio_embeds"), PROMPT_EMBEDS),
}


def openai_media(request: dict[str, Any]) -> tuple[list[ImageAt], list[str]]:
    """Pictures, and kinds of other media, wherever they stand: engines score, rank and embed pictures, too."""
    images: list[ImageAt] = []
    others: dict[str, None] = {}
    for part, path in _objects(request):
        images += _of_part(part, path)
        for key, kind in _OTHER_MEDIA.items():
            if part.get(key) is not None:
                others[kind] = None
    return images, list(others)


def anthropic_image(source: Any, path: Path) -> ImageAt:
    """Of an image block's source."""
    if isinstance(source, dict):
        match source.get("type"):
            case "base64" if isinstance(data := source.get("data"), str):
                declared = source.get("media_type")
                declared = declared if isinstance(declared, str) else "?"
                return ImageAt((*path, "data"), "image", "base64", data, declared)
            case "url" if isinstance(url := source.get("url"), str):
                return ImageAt((*path, "url"), "image", "url", url)
    return ImageAt(path, "image", "stored")


def ollama_images(holder: dict[str, Any], path: Path) -> list[ImageAt]:
    """Of a request or message; Go reads the member in any case of its letters."""
    found: list[ImageAt] = []
    for key, value in holder.items():
        if key.casefold() == "images" and value is not None:
            items = value if isinstance(value, list) else [value]
            for number, item in enumerate(items):
                at: Path = (*path, key, number) if isinstance(value, list) else (*path, key)
                found.append(
                    ImageAt(at, "image", "base64", item)
                    if isinstance(item, str)
                    else ImageAt(at, "image", "stored")
                )
    return found


def _objects(request: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Path]]:
    """Every object that a model may be shown something of, in document order. What holds nothing is no step."""
    stack: list[tuple[Any, Path]] = [(request, ())]
    while stack:
        here, at = stack.pop()
        below: list[tuple[Any, Path]]
        if isinstance(here, list):
            below = [(item, (*at, n)) for n, item in enumerate(here) if item and isinstance(item, _HOLDERS)]
        else:
            yield here, at
            skipped = _NOT_SHOWN if at else _TASK
            below = [
                (item, (*at, key))
                for key, item in here.items()
                if item and isinstance(item, _HOLDERS) and key not in skipped
            ]
        stack += reversed(below)


def _of_part(part: dict[str, Any], path: Path) -> Iterator[ImageAt]:
    kind = part.get("type")
    named = kind if isinstance(kind, str) and kind in _IMAGES else ""
    found = False
    for key in ("image_url", "image"):
        value = part.get(key)
        if isinstance(value, dict) and isinstance(value.get("url"), str):
            found = True
            yield _at((*path, key, "url"), named or key, value["url"])
        elif isinstance(value, str):
            found = True
            yield _at((*path, key), named or key, value)
        elif value is not None and named:
            found = True
            yield ImageAt((*path, key), named, "stored")
    if (named and not found) or (found and any(part.get(key) is not None for key in _KEPT)):
        yield ImageAt(path, named or "image_url", "stored")


def _at(path: Path, kind: str, written: str) -> ImageAt:
    return ImageAt(path, kind, "url" if ":" in written[:64] else "base64", written)
