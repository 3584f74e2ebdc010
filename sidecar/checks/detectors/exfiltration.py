"""Finds ways in which an answer's reader sends data elsewhere: links, images and tags to hosts that are not listed.

A chat window loads an image as soon as it is shown, and its URL may carry what a prompt injection told the model to
put there. L is hypertext.MAX_PLACE; of a longer URL the beginning with its host goes, the rest stays as plain text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bartizan.policy.checks import Exfiltration
from sidecar.checks.base import Inspection, Match, SpanCheck
from sidecar.checks.hypertext import CHARS_PER_STEP, LOUD, MAX_PLACE, Kind, Place, begun, next_place, views
from sidecar.checks.spans import ACTIONS, TOO_MANY, Allowance, inspection
from sidecar.formats.base import TextPart
from sidecar.model.finding import Action

PLACEHOLDER = "[LINK]"
_SPECIAL = frozenset({"http", "https", "ws", "wss", "ftp"})
"""Schemes after whose colon browsers take any number of slashes (URL Standard, "special scheme")."""
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_AUTHORITY_END = re.compile(r"[/\\?#]")
_PORT = re.compile(r":[0-9]*\Z")
_VALUE = re.compile(r"=\s*(\"[^\"]*\"?|'[^']*'?|[^\s>]+)")
_PIECES = re.compile(r"[\s,]+|url\(")
_NAMESPACES = frozenset(
    f"http://www.w3.org/{name}"
    for name in ("2000/svg", "1999/xhtml", "1999/xlink", "1998/Math/MathML", "XML/1998/namespace")
)
"""Names of XML vocabularies: these very URLs are fetched by nobody and say nothing."""
_WEB_LIKE = re.compile(r"www\.", re.IGNORECASE)
_ESCAPED_STYLE = re.compile(r"[\s/\"']style\s*=\s*(?:\"[^\"]*|'[^']*|[^\s>]*)\\", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"\s[\w:-]+\s*=[^=]")


@dataclass(frozen=True, slots=True)
class _Region:
    start: int
    open: bool
    match: Match | None


class ExfiltrationCheck:
    """SpanCheck over everything that leads to a host which the policy does not list."""

    name = "exfiltration"
    context = 0
    max_match = MAX_PLACE
    rendered = True
    loud = LOUD

    def __init__(self, hosts: Sequence[str], action: Action) -> None:
        self.action = action
        self._hosts = frozenset(host.lower() for host in hosts if not host.startswith("*."))
        self._domains = tuple(host[1:].lower() for host in hosts if host.startswith("*."))

    def inspect(self, part: TextPart) -> Inspection:
        return inspection(self.name, self.action, part, self.matches(part.text))

    def matches(self, text: str, start: int = 0) -> list[Match]:
        allowance = Allowance(text, CHARS_PER_STEP)
        found = [region.match for region in self._regions(text, start, allowance) if region.match]
        if allowance.left < 0:
            return [Match(start=start, end=len(text), kind=TOO_MANY, replacement=PLACEHOLDER)]
        return found

    def settled(self, text: str) -> int:
        done = 0
        for region in self._regions(text, 0, Allowance(text, CHARS_PER_STEP)):
            if region.open:
                return region.start
            done = region.match.end if region.match else region.start + 1
        return begun(text, done)

    def _regions(self, text: str, at: int, allowance: Allowance) -> Iterator[_Region]:
        while (place := next_place(text, at, allowance)) is not None:
            kind = self._leads_out(place)
            match = None
            at = place.end
            if kind:
                opener = text[place.start : place.start + 2] if place.kind is Kind.DESTINATION else ""
                match = Match(
                    start=place.start, end=place.end, kind=kind, replacement=f"{opener}{PLACEHOLDER}"
                )
            elif place.kind not in {Kind.URL, Kind.DATA}:
                at = place.start + 1  # another renderer may see links inside
            yield _Region(place.start, place.open, match)

    def _leads_out(self, place: Place) -> str:
        """The kind of a hit, "" for what stays."""
        match place.kind:
            case Kind.TAG:
                return self._tag(place)
            case Kind.COMMENT:
                return ""
            case Kind.DESTINATION if place.overlong:
                return "link"
            case Kind.DATA:
                return "data_url"
            case Kind.URL if _WEB_LIKE.match(place.inner):
                return "" if self._listed(place.inner) else "link"
            case _:
                return self._url(place.inner)

    def _tag(self, place: Place) -> str:
        tag = place.inner
        if tag.startswith(("</", "<!", "<?")):
            return ""
        if (place.overlong and _ATTRIBUTE.search(tag)) or _ESCAPED_STYLE.search(tag):
            return "link"
        for value in _VALUE.finditer(tag):
            said = value.group(1).strip("\"'")
            for url in (said, *_PIECES.split(said)):
                if kind := self._url(url.strip("\"'()")):
                    return "image" if kind == "link" and tag[:4].lower() == "<img" else kind
        return ""

    def _url(self, url: str) -> str:
        if url in _NAMESPACES:
            return ""
        for view in views(url):
            scheme = _SCHEME.match(view)
            if scheme is None:
                leads = view[:2].strip("\\/") == "" and len(view) > 2
                rest = view
            else:
                name, rest = scheme.group(1).lower(), view[scheme.end() :]
                if name == "data":
                    return "data_url"
                leads = name in _SPECIAL or (rest[:2].strip("\\/") == "" and len(rest) > 1)
            if leads and not self._listed(rest.lstrip("\\/")):
                return "link"
        return ""

    def _listed(self, url: str) -> bool:
        """Whether the host at the beginning is one of the policy's. What is no plain host name is none."""
        ending = _AUTHORITY_END.search(url)
        authority = url[: ending.start()] if ending else url
        host = _PORT.sub("", authority.rpartition("@")[2]).lower().removesuffix(".")
        return host in self._hosts or host.endswith(self._domains)


def build(config: Exfiltration) -> SpanCheck:
    return ExfiltrationCheck(config.links, ACTIONS[config.action])
