"""Finds markup that runs or hides: script and frame tags, event handlers, javascript: URLs, text that no reader sees.

As an output check it keeps an answer from running in the page that shows it; as a sanitizer of requests it takes out
what people don't see and models read. L is hypertext.MAX_PLACE: hidden text is taken out with its element up to there.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

from bartizan.policy.checks import Markup
from sidecar.checks.base import Inspection, Match, SpanCheck
from sidecar.checks.hypertext import CHARS_PER_STEP, LOUD, MAX_PLACE, Kind, Place, begun, next_place, views
from sidecar.checks.spans import ACTIONS, TOO_MANY, Allowance, inspection
from sidecar.formats.base import TextPart
from sidecar.model.finding import Action

PLACEHOLDER = "[MARKUP]"
_NAME = re.compile(r"</?([A-Za-z][^\s/>]*)")
_ACTIVE = frozenset(
    {
        "iframe",
        "frame",
        "frameset",
        "object",
        "embed",
        "applet",
        "base",
        "meta",
        "link",
        "form",
        "portal",
        "style",
    }
)
_HANDLER = re.compile(r"[\s/\"'`]on[a-z]{3,40}\s*=", re.IGNORECASE)
_SRCDOC = re.compile(r"[\s/\"']srcdoc\s*=", re.IGNORECASE)
_SCRIPT_URL = re.compile(
    r"(?:java|vb|live)script:|data:(?:text/(?:html|xml|javascript)|image/svg|application/x)", re.IGNORECASE
)
_HIDING = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|opacity\s*:\s*0(?:\.0*)?\s*(?:[;\"'}]|!|$)"
    r"|font-size\s*:\s*0(?:\.0*)?(?:px|pt|em|rem|%)?\s*(?:[;\"'}]|!|$)|\shidden(?=[\s/>=])",
    re.IGNORECASE,
)
_LOADING = re.compile(
    r"[\s/\"']style\s*=\s*(?:\"[^\"]*|'[^']*|[^\s>]*)(?:\\|url\s*\(|image-set\s*\()", re.IGNORECASE
)
"""A style that loads something, or has an escape: nobody writes one but to hide such a word."""
_ATTRIBUTE = re.compile(r"\s[\w:-]+\s*=[^=]")
_NOTE = re.compile(r"\]:[ \t]{0,8}(?:#|<>)[ \t]{1,8}[(\"'][^\n]*")
"""A reference definition that leads nowhere and has a title: Markdown's way to write a comment."""


@dataclass(frozen=True, slots=True)
class _Region:
    start: int
    open: bool
    match: Match | None


class MarkupCheck:
    """SpanCheck over active and hidden markup."""

    name = "markup"
    context = 0
    max_match = MAX_PLACE
    rendered = True
    loud = LOUD

    def __init__(self, action: Action) -> None:
        self.action = action

    def inspect(self, part: TextPart) -> Inspection:
        return inspection(self.name, self.action, part, self.matches(part.text))

    def matches(self, text: str, start: int = 0) -> list[Match]:
        allowance = Allowance(text, CHARS_PER_STEP)
        found = [region.match for region in _regions(text, start, allowance) if region.match]
        if allowance.left < 0:
            return [Match(start=start, end=len(text), kind=TOO_MANY, replacement=PLACEHOLDER)]
        return found

    def settled(self, text: str) -> int:
        done = 0
        for region in _regions(text, 0, Allowance(text, CHARS_PER_STEP)):
            if region.open:
                return region.start
            done = region.match.end if region.match else region.start + 1
        return begun(text, done)


def build(config: Markup) -> SpanCheck:
    return MarkupCheck(ACTIONS[config.action])


def _regions(text: str, at: int, allowance: Allowance) -> Iterator[_Region]:
    while (place := next_place(text, at, allowance)) is not None:
        kind, end, still_open = _judge(text, place)
        match = None
        at = end
        if kind:
            match = Match(start=place.start, end=end, kind=kind, replacement=PLACEHOLDER)
        elif place.kind not in {Kind.URL, Kind.DATA}:
            at = place.start + 1  # another renderer may see markup inside
        yield _Region(place.start, still_open, match)


def _judge(text: str, place: Place) -> tuple[str, int, bool]:
    """Kind of a hit or "", where it ends, and whether what follows may change that."""
    match place.kind:
        case Kind.COMMENT:
            return "hidden_text", place.end, place.open
        case Kind.TAG:
            kind = _tag(place)
            if kind == "hidden_text" and not place.open:
                return (kind, *_element(text, place))
            return kind, place.end, place.open
        case Kind.DESTINATION:
            if any(_SCRIPT_URL.match(view) for view in views(place.inner)):
                return "script_url", place.end, place.open
            return _note(text, place)
        case Kind.URL | Kind.DATA:
            return "", place.end, False


def _tag(place: Place) -> str:
    named = _NAME.match(place.inner)
    if named is None:
        return ""
    name = named.group(1).lower()
    if name == "script":
        return "script"
    if name in _ACTIVE:
        return "active_element"
    if place.inner.startswith("</"):
        return ""
    tag = html.unescape(place.inner)
    if _HANDLER.search(tag):
        return "event_handler"
    if any(_SCRIPT_URL.search(view) for view in views(place.inner)):
        return "script_url"
    if _SRCDOC.search(tag) or _LOADING.search(tag) or (place.overlong and _ATTRIBUTE.search(tag)):
        return "active_element"
    return "hidden_text" if _HIDING.search(tag) else ""


def _element(text: str, place: Place) -> tuple[int, bool]:
    """Where the element ends that a hiding tag begins: at its closing tag, or with the tag when that is too far."""
    named = _NAME.match(place.inner)
    limit = place.start + MAX_PLACE
    closing = re.compile(rf"</{re.escape(named.group(1)) if named else ''}\s*>", re.IGNORECASE)
    found = closing.search(text, place.end, limit)
    if found is not None:
        return found.end(), False
    return place.end, len(text) < limit


def _note(text: str, place: Place) -> tuple[str, int, bool]:
    limit = min(len(text), place.start + MAX_PLACE)
    note = _NOTE.match(text, place.start, limit)
    if note is not None:
        return "hidden_text", note.end(), note.end() == len(text) < place.start + MAX_PLACE
    begins = text[place.start : place.start + 2] == "]:" and place.inner in {"", "#"}
    return (
        "",
        place.end,
        place.open or (begins and "\n" not in text[place.start :] and len(text) - place.start < 24),
    )
