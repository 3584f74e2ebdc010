"""Puts back into an answer what its request's tokens stand for (sidecar/checks/tokens.py), after all checks.

Checks of the answer have seen the tokens, not what is put back; those of links and markup look again, for who wrote a
value need not be the client. A token that the model changed is no token and stays as it is. L is the longest token.
"""

from __future__ import annotations

import json

from sidecar.checks.base import Inspection, Match
from sidecar.checks.spans import inspection
from sidecar.checks.tokens import LONGEST, OPEN, TOKEN, Tokens
from sidecar.formats.base import TextPart
from sidecar.model.finding import Action


class RestoreCheck:
    """SpanCheck of one exchange. `in_json`: for a JSON text as it is written, such as streamed arguments of a tool."""

    name = "restore"
    action = Action.REDACT
    context = 0
    max_match = LONGEST

    def __init__(self, tokens: Tokens, *, in_json: bool = False) -> None:
        self._tokens = tokens
        self._in_json = in_json

    def inspect(self, part: TextPart) -> Inspection:
        return inspection(self.name, self.action, part, self.matches(part.text))

    def matches(self, text: str, start: int = 0) -> list[Match]:
        if not self._tokens:
            return []
        found: list[Match] = []
        for token in TOKEN.finditer(text, start):
            said = self._tokens.said(token[0])
            if said is not None:
                written = json.dumps(said, ensure_ascii=False)[1:-1] if self._in_json else said
                kind = token[0][1:-1].rpartition("_")[0].lower()
                found.append(Match(start=token.start(), end=token.end(), kind=kind, replacement=written))
        return found

    def settled(self, text: str) -> int:
        if not self._tokens:
            return len(text)
        opened = OPEN.search(text[-self.max_match :])
        return len(text) - (len(opened[0]) if opened else 0)
