"""What a plan says of the headers of an answer: `canary` and `secrets` read them, as they read identifiers, however long.

A model writes no headers, but what stands around it may put a prompt or a key of its own into one. Called by
sidecar/exchange.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from sidecar.checks.content import strongest
from sidecar.formats.base import TextPart
from sidecar.model.decision import Cause, deny
from sidecar.model.finding import Action
from sidecar.plan.judge import Judgement
from sidecar.plan.plan import Plan

_KEPT: Final = frozenset({"content-type", "content-encoding", "content-length", "transfer-encoding", "host"})
"""An answer can't be read without them, or Envoy lets nobody take them out."""
_USUAL: Final = frozenset(
    {
        "uvicorn",
        "hypercorn",
        "daphne",
        "gunicorn",
        "chunked",
        "keep-alive",
        "identity",
        "no-cache",
        "no-store",
        "nosniff",
        "close",
        "application/json",
        "text/event-stream",
        "application/x-ndjson",
        "application/json; charset=utf-8",
        "text/event-stream; charset=utf-8",
    }
)
_DATE: Final = re.compile("[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT")
_SHORTEST: Final = 8
"""Characters of the shortest token of a canary; secrets are longer."""
_LONGEST_NAME: Final = 64


def judge_headers(plan: Plan, headers: Mapping[str, str]) -> Judgement:
    """One in which a check would redact is taken out, where clients can do without it; what it would cut is refused."""
    made = Judgement()
    readers = plan.output.identifying
    if not readers:
        return made
    unusual = {name: value for name, value in headers.items() if _may_say_something(value)}
    together = TextPart(location="", text="\n".join(unusual.values()))
    if not unusual or not any(check.inspect(together).findings for check in readers):
        return made  # as nearly always
    for name, value in unusual.items():
        part = TextPart(location=f"headers.{name[:_LONGEST_NAME]}", text=value, identifier=True)
        found = tuple(one for check in readers for one in check.inspect(part).findings)
        made.findings += found
        action = strongest(found)
        if action is Action.DENY or (action is Action.REDACT and name in _KEPT):
            made.refusal = deny(Cause.ANSWER_DENIED)
        elif action is Action.REDACT:
            made.without += (name,)
    return made


def _may_say_something(value: str) -> bool:
    """Whether it is not one of those that every server sends."""
    return len(value) >= _SHORTEST and value not in _USUAL and _DATE.fullmatch(value) is None
