"""The web application firewall as a check of whole requests: what it is shown, and what its rules mean. Pure but for asking.

It sees the request line, headers, every scalar of a JSON body and its keys, by default without prompts: prose about SQL
or shells is no attack on anything. Long texts are cut into pieces, because the rules' regular expressions take the square of a
text's length.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol
from urllib.parse import quote

from bartizan.policy.schema import Crs
from sidecar.checks.waf.messages import Answer, Question
from sidecar.formats.base import Document
from sidecar.model.finding import Action, Finding
from sidecar.model.request import RequestHead

MOST_BODY = 16 * 1024
"""Characters of a body's scalars that the rules read; a request with more is refused, or flagged in mode detect."""
_PIECE, _OVERLAP = 1024, 128
_OURS = ("x-bartizan-", "x-envoy-", "x-forwarded-", "x-request-id", "traceparent", "tracestate", ":")
_OTHER = re.compile(r"(?:.*\.)?other#\d+(?:'\d+)*", re.DOTALL)
"""Where formats put strings of fields that they don't know, and arguments of programs: these are no prompts."""


class Asks(Protocol):
    """What answers questions: firewall.Firewall."""

    def judge(self, question: Question) -> Answer: ...


@dataclass(frozen=True, slots=True)
class WafVerdict:
    """`refused` is "" or why."""

    findings: tuple[Finding, ...] = ()
    refused: Literal["", "waf", "waf_body_limit"] = ""
    unscanned: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WafCheck:
    """One policy's firewall."""

    config: Crs
    asks: Asks = field(repr=False)

    def judge(self, head: RequestHead, body: bytes, decode: Callable[[], Document]) -> WafVerdict:
        """`decode` reads the body anew: prompts are taken out of that copy. Raises ChildFailed."""
        values: list[tuple[str, str]] = []
        unscanned: tuple[str, ...] = ()
        if body:
            shown = _without_prompts(decode(), texts=self.config.prompt_fields == "skip")
            try:
                values = list(_scalars(json.loads(shown)))
                if shown != body and not any(value for _, value in values):
                    unscanned = ("waf_prompts",)
            except (ValueError, RecursionError):
                unscanned = ("waf_body_not_json",)
        if sum(len(name) + len(value) for name, value in values) > MOST_BODY:
            block = self.config.mode == "block"
            action = Action.DENY if block else Action.FLAG
            finding = Finding(check="waf", kind="body_limit", action=action)
            return WafVerdict((finding,), "waf_body_limit" if block else "", ("waf_body_limit",))
        answer = self.asks.judge(scalar_question(head, values))
        blocked = answer.exceeded and self.config.mode == "block"
        findings = [
            Finding(check="waf", kind=str(hit.rule), action=Action.DENY if blocked else Action.FLAG)
            if hit.level <= self.config.paranoia
            else Finding(check="waf", kind=f"strict-{hit.rule}", action=Action.FLAG)
            for hit in answer.hits
        ]
        return WafVerdict(tuple(findings), "waf" if blocked else "", unscanned)


def _without_prompts(document: Document, *, texts: bool) -> bytes:
    """Also without pictures, always: they are megabytes in which no rule finds anything."""
    for image in document.images():
        if image.form != "stored":
            document.replace_image(image.location, "" if isinstance(image.written, str) else b"")
    for part in list(document.texts()) if texts else ():
        if not (part.again or part.fixed or part.identifier or _OTHER.fullmatch(part.location)):
            document.replace(part.location, "")
    return document.encode()


def scalar_question(head: RequestHead, values: list[tuple[str, str]]) -> Question:
    """What the rules are shown: the request without our own headers, and these scalars as its body."""
    headers = [
        (name, value)
        for name, value in head.headers.items()
        if not name.startswith(_OURS) and name not in {"content-length", "content-type", "host"}
    ]
    headers.append(("host", head.headers.get(":authority", head.headers.get("host", "localhost"))))
    body = b""
    if values:
        pieces = [{name: piece} for name, value in values for piece in _pieces(value)]
        body = json.dumps(pieces).encode()
        headers += [("content-type", "application/json"), ("content-length", str(len(body)))]
    elif head.method not in {"GET", "HEAD", "DELETE"}:
        headers.append(("content-length", "0"))
    target = head.target or quote(head.path)
    return Question(method=head.method, target=target, headers=tuple(headers), body=body)


def _pieces(value: str) -> Iterator[str]:
    for at in range(0, max(1, len(value) - _OVERLAP), _PIECE - _OVERLAP):
        yield value[at : at + _PIECE]


def _scalars(value: Any) -> Iterator[tuple[str, str]]:
    """Strings with the name of the member that holds them, and names of members that hold something else."""
    stack: list[tuple[str, Any]] = [("body", value)]
    while stack:
        name, here = stack.pop()
        match here:
            case str():
                yield name, here
            case dict():
                stack.extend(here.items())
            case list():
                stack.extend((name, item) for item in here)
            case _:
                yield name, ""
