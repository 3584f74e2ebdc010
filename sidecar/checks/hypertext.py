"""Where rendered text can reach outside or run: tags, link destinations of Markdown, bare URLs, data URLs.

Shared by the detectors exfiltration and markup. Nobody knows which renderer shows an answer, so what any common one
takes for a tag or a link is one here. A place is at most MAX_PLACE characters long, so streams can be followed.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum, auto

from sidecar.checks.spans import Allowance

MAX_PLACE = 1_024
"""L of both detectors: what is longer counts by its first characters, or as suspicious where they don't decide."""
_MAX_SPACES = 64
CHARS_PER_STEP = 2
"""How many characters of an honest text pay for one step: an opener, an attribute, or _READ characters of a place."""
_READ = 4

_SCHEMES = "https?|wss?|ftps?|sftp|smb|file"
_COLON = r"(?:\\?:|&#0{0,7}58;?|&#x0{0,7}3a;?|&colon;)"
_MIME = r"[a-z0-9.+-]{1,40}/[a-z0-9.+-]{1,60}"
_CSS = r"(?:url\([ \t\n]{0,8}|@import[ \t\n]{0,8})"
"""What CSS loads from a host that is written without its scheme."""
_OPENER = re.compile(
    rf"(?P<destination>\][(:])|(?P<tag><(?=[a-z/!?]))|(?P<url>(?:{_SCHEMES}){_COLON}[\\/]|www\.)|(?P<css>{_CSS}[\"']?[\\/]{{2}})|(?P<data>data:{_MIME}[;,])",
    re.IGNORECASE | re.ASCII,
)


def _beginnings(*words: str) -> str:
    starts = {re.escape(word[:size]) for word in words for size in range(1, len(word) + 1)}
    return "|".join(sorted(starts, key=len, reverse=True))


_BEGUN = re.compile(
    rf"(?:\]|<|{_beginnings('https', 'wss', 'ftps', 'sftp', 'smb', 'file', 'data', 'www', 'url', '@import')}"
    rf"|{_CSS}[\"']?[\\/]?"
    rf"|(?:{_SCHEMES})(?:\\|&[#a-z0-9]{{0,12}}|{_COLON})|data:[a-z0-9.+/-]{{0,101}})\Z",
    re.IGNORECASE | re.ASCII,
)
"""An end of a text that the following characters may turn into an opener."""
LOUD = r"[wW]ww\."
"""All of an opener that plain words and the signs of prose can be."""
_LONGEST_OPENER = 128
_ATTRIBUTE_STEP = re.compile(r"[>=]")
_SPACES = re.compile(r"\s*")
_DESTINATION = re.compile(r"[^\s()<>\"]*")
_URL_REST = re.compile(r"(?:[^\s<>\"'`\[\]{}|^()]|\([^\s<>\"'`\[\]{}|^()]*\))*")
_PAIR = re.compile(r"\([^\s<>\"'`\[\]{}|^()]*")
_IPV6 = re.compile(r"[\\/]*(?:[^\s/\\?#<>\"]*@)?\[[0-9a-f:.]*\]?", re.IGNORECASE)
_TRAILING = ".,;:!?*_"
_HIDDEN_IN_URLS = re.compile(r"[\x00-\x20\x7f]")
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")


class Kind(Enum):
    """What a place is."""

    TAG = auto()
    COMMENT = auto()
    DESTINATION = auto()
    URL = auto()
    DATA = auto()


@dataclass(frozen=True, slots=True)
class Place:
    """text[start:end]. `inner` is the URL of a link, a tag's own text. `open`: what follows may change it."""

    kind: Kind
    start: int
    end: int
    inner: str
    open: bool = False
    overlong: bool = False


def next_place(text: str, at: int, allowance: Allowance) -> Place | None:
    """The first place that begins at `at` or later; None when there is none or the allowance is used up."""
    opener = _OPENER.search(text, at)
    place = None if opener is None else _place(text, opener, allowance)
    if place is None or not allowance.spend(1 + (place.end - place.start) // _READ):
        return None
    return place


def _place(text: str, opener: re.Match[str], allowance: Allowance) -> Place:
    start = opener.start()
    match opener.lastgroup:
        case "tag" if text.startswith("<!--", start):
            return _until(text, start, "-->", start + 2)
        case "tag":
            return _tag(text, start, allowance)
        case "destination":
            return _destination(text, start)
        case "css":
            place = _url(text, start, opener.end(), Kind.URL)
            return replace(place, inner=text[opener.end() - 2 : place.end])
        case kind:
            return _url(text, start, opener.end(), Kind.DATA if kind == "data" else Kind.URL)


def begun(text: str, done: int) -> int:
    """Where an opener may have begun at the text's end, not before `done`; else the text's length."""
    opening = _BEGUN.search(text, max(done, len(text) - _LONGEST_OPENER))
    return opening.start() if opening else len(text)


def views(url: str) -> Iterator[str]:
    """What renderers make of a URL as it is written: entities and Markdown's escapes read, hidden characters out."""
    plain = _HIDDEN_IN_URLS.sub("", html.unescape(url))
    yield plain
    if "\\" in plain:
        yield _ESCAPED.sub(r"\1", plain)


def _until(text: str, start: int, closing: str, search_from: int) -> Place:
    limit = start + MAX_PLACE
    end = text.find(closing, search_from, limit)
    if end >= 0:
        end += len(closing)
        return Place(Kind.COMMENT, start, end, text[start:end])
    end = min(len(text), limit)
    return Place(Kind.COMMENT, start, end, text[start:end], open=len(text) < limit, overlong=True)


def _tag(text: str, start: int, allowance: Allowance) -> Place:
    """As browsers read tags: a > inside a quoted value does not end one, a stray quote does not begin a value."""
    limit = min(len(text), start + MAX_PLACE)
    at = start + 1
    while (step := _ATTRIBUTE_STEP.search(text, at, limit)) is not None and allowance.spend():
        at = step.end()
        if step.group() == ">":
            return Place(Kind.TAG, start, at, text[start:at])
        spaces = _SPACES.match(text, at, limit)
        value = spaces.end() if spaces else at
        if text[value : value + 1] in {'"', "'"} and value < limit:
            closing = text.find(text[value], value + 1, limit)
            if closing < 0:
                break
            at = closing + 1
    short = len(text) < start + MAX_PLACE
    return Place(Kind.TAG, start, limit, text[start:limit], open=short, overlong=not short)


def _destination(text: str, start: int) -> Place:
    """`](url` and `]: url`, with what CommonMark allows between."""
    limit = min(len(text), start + MAX_PLACE)
    at = start + 2
    spaces = 0
    while at < limit and (text[at].isspace() or text[at] == "<") and spaces <= _MAX_SPACES:
        at, spaces = at + 1, spaces + 1
    run = _DESTINATION.match(text, at, limit)
    end = run.end() if run else at
    overlong = spaces > _MAX_SPACES or end == start + MAX_PLACE
    return Place(
        Kind.DESTINATION,
        start,
        end,
        text[at:end],
        open=end == len(text) and not overlong,
        overlong=overlong,
    )


def _url(text: str, start: int, scheme_end: int, kind: Kind) -> Place:
    limit = min(len(text), start + MAX_PLACE)
    host = _IPV6.match(text, scheme_end, limit)
    run = _URL_REST.match(text, host.end() if host else scheme_end, limit)
    end = run.end() if run else scheme_end
    # An opening parenthesis at the end may belong to the URL once its partner is there.
    still_open = len(text) < start + MAX_PLACE and (end == len(text) or _pair_begun(text, end))
    end = max(scheme_end, start + len(text[start:end].rstrip(_TRAILING)))
    return Place(kind, start, end, text[start:end], open=still_open, overlong=end - start == MAX_PLACE)


def _pair_begun(text: str, end: int) -> bool:
    rest = _PAIR.match(text, end)
    return rest is not None and rest.end() == len(text)
