"""Exchanges without any wire: a plan, the events of a request and of an answer, and what came of playing them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

from bartizan.policy.bundle import GuardModel
from bartizan.policy.checks import Canary, Pii, Probabilities
from bartizan.policy.schema import Route
from sidecar.checks.admission.request_rate import Buckets
from sidecar.exchange import Exchange
from sidecar.model.events import (
    AnswerBody,
    AnswerData,
    AnswerHeaders,
    AnswerTrailers,
    Event,
    Reply,
    RequestBody,
    RequestHeaders,
)
from sidecar.model.request import Identity
from sidecar.model.stage import Stage
from sidecar.plan.load import load_plan
from sidecar.plan.plan import Plan
from tests.support.guard import guard_plan

CANARY = "canary-7f3a9c21"
CALLER = Identity(subject="k1", tenant="acme", method="api_key", key_id="k1")
JSON = {"content-type": "application/json"}
SSE = {"content-type": "text/event-stream"}
OUTPUT = (Canary(tokens=(CANARY,), action="cut"), Probabilities(decimals=2))


def plan(**changes: Any) -> Plan:
    route = Route(
        path="/predict", input_text=("$.text",), output_text=("$.echo",), output_scores=("$.scores",)
    )
    defaults: dict[str, Any] = {"routes": (route,), "input": (Pii(types=("email",)),), "output": OUTPUT}
    return load_plan(guard_plan(**{**defaults, **changes}), Buckets(clock=lambda: 0.0))


def chat_plan(**changes: Any) -> Plan:
    defaults: dict[str, Any] = {"routes": (), "input": (), "output": OUTPUT[:1]}
    return plan(model=GuardModel(name="m", protocol="openai"), **{**defaults, **changes})


def exchange(with_plan: Plan, **options: Any) -> Exchange:
    return Exchange(
        with_plan,
        options.pop("identity", CALLER),
        "d" * 32,
        source_address="",
        trace_id="",
        clock_ns=lambda: 0,
        **options,
    )


def request(text: str = "hello") -> list[Event]:
    body = json.dumps({"text": text}).encode()
    return [
        RequestHeaders(method="POST", path="/predict", headers=JSON, end=False),
        RequestBody(data=body),
    ]


def chat_request() -> list[Event]:
    body = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "x"}]})
    return [
        RequestHeaders(method="POST", path="/v1/chat/completions", headers=JSON, end=False),
        RequestBody(data=body.encode()),
    ]


def answer(body: bytes, cuts: Sequence[int] = (), **options: Any) -> list[Event]:
    """The answer's events, its body split at `cuts`."""
    places = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    pieces = [body[start:end] for start, end in itertools.pairwise(places)]
    data: list[Event] = [AnswerBody(data=piece, end=False) for piece in pieces]
    last: Event = AnswerTrailers() if options.get("trailers") else AnswerBody(data=b"", end=True)
    headers = AnswerHeaders(
        status=options.get("status", 200), headers=options.get("headers", JSON), end=False
    )
    return [headers, *data, last]


def play(on: Exchange, events: Sequence[Event]) -> list[Reply]:
    replies: list[Reply] = []
    for event in events:
        replies += on.take(event)
        if on.stage is Stage.REFUSED:
            break
    return replies


def sent(replies: Sequence[Reply]) -> bytes:
    return b"".join(reply.data for reply in replies if isinstance(reply, AnswerData))
