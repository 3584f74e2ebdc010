"""Envoy tells ext_authz of few headers: the guard reads no others there, with or without a body."""

from __future__ import annotations

import json
from typing import Any

from bartizan.policy import names
from bartizan.policy.checks import Pii
from sidecar.checks.admission.request_rate import Buckets
from sidecar.checks.authn.base import Material
from sidecar.model.events import PassRequestBody
from sidecar.model.request import RequestHead
from sidecar.plan.load import load_plan
from sidecar.wire.check_body import exchange_for, take_body
from sidecar.wire.translate_check import Check, read_check
from tests.support.guard import KEY, check_request, guard_plan, key_set

BODY = json.dumps({"text": "hi"}).encode()
TOLD = {
    "x-api-key": KEY,
    "content-type": "application/json",
    "content-length": str(len(BODY)),
    "x-request-id": "0af76519-16cd-43dd-8448-eb211c80319c",
    names.HEADER_PROBE: "p",
}


class Watched(dict[str, str]):
    """Headers that know which of them they were asked for."""

    def __init__(self, told: dict[str, str]) -> None:
        super().__init__(told)
        self.asked: set[str] = set()

    def __contains__(self, name: object) -> bool:
        self.asked.add(str(name))
        return super().__contains__(name)

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.add(name)
        return super().get(name, default)

    def items(self) -> Any:
        raise AssertionError("ext_authz is not told all headers")


def test_head_and_body_are_judged_by_the_headers_that_envoy_tells() -> None:
    headers = Watched(TOLD)
    head = RequestHead(stream_id="", method="POST", path="/predict", headers=headers, source_address="")
    plan = load_plan(guard_plan(input=(Pii(action="flag"),)), Buckets(clock=lambda: 0.0))
    keys = Material(api_keys={"keys": {record.hash: record for record in key_set().keys}})
    identity = plan.head.decide(head, keys).decision.identity
    assert identity is not None
    check = Check(head=head, revision=plan.id, content=False, body=BODY, probe=None)
    reply = take_body(exchange_for(check, plan, "d" * 32, identity, lambda: 0), check)
    assert isinstance(reply, PassRequestBody)
    assert {"x-api-key", "authorization", "content-length", "content-encoding"} <= headers.asked
    assert headers.asked <= set(names.CHECKED_HEADERS)


def test_what_a_question_says_does_not_depend_on_other_headers() -> None:
    untold = {":path": "/q", "cookie": "c", "traceparent": "t", "x-forwarded-for": "192.0.2.1"}
    few, all_ = (read_check(check_request(headers)) for headers in (TOLD, TOLD | untold))
    assert few.probe == "p"
    assert few.head.trace_id
    for field in ("method", "path", "query", "source_address", "trace_id"):
        assert getattr(few.head, field) == getattr(all_.head, field)
    assert (few.probe, few.body, few.content) == (all_.probe, all_.body, all_.content)
