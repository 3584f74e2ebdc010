"""What compiled filters do to a request when a guard does answer: a guard of a few lines, real Envoy, a real model."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from typing import Any

import pytest

from bartizan.policy import names
from control_plane.compile.envoy.filters.limits import INFLATED_READ_AHEAD, SMALL_BODY

pytestmark = pytest.mark.e2e


async def test_guard_is_told_the_plan_and_the_model_gets_what_the_guard_made_of_the_body(
    stack: Any,
) -> None:
    spoofed = {
        "x-bartizan-decision": "s", "x-bartizan-probes": "s", "x-bartizan-p": "s", "x-envoy-retry-on": "5xx",
        "x-request-id": "s", "x-forwarded-for": "9.9.9.9", "x-forwarded-host": "s", "traceparent": f"00-{'1' * 32}-{'2' * 16}-00",
        "tracestate": "s=1", "x-client-trace-id": "s", "x-forwarded-client-cert": "s", "x-http-method-override": "GET",
        "x-original-url": "/s", "accept-encoding": "gzip",
        "b3": "s", "x-b3-traceid": "s", "x-datadog-trace-id": "1", "x-datadog-tags": "s", "uber-trace-id": "s",
        "sentry-trace": "s", "x-amzn-trace-id": "s", "x-cloud-trace-context": "s", "grpc-trace-bin": "AAAA", "sw8": "s",
        "ot-tracer-traceid": "s", "elastic-apm-traceparent": "s", "newrelic": "s",
    }  # fmt: skip
    async with stack.client.post(
        stack.url, data=b"hello", headers={**spoofed, "x-api-key": "k", "x-other": "kept"}
    ) as answer:
        assert answer.status == 200
        assert names.HEADER_DECISION not in answer.headers
        assert names.HEADER_PROOF not in answer.headers
        assert "x-envoy-upstream-service-time" not in answer.headers
        assert answer.headers["server"] == "bartizan"
    (check,) = stack.seen.checks
    assert dict(check.attributes.context_extensions) == {
        names.REVISION: "4.9",
        names.CONTENT: "1",
        names.TRACE: "10000",
    }
    told = check.attributes.request.http.headers
    assert told["x-api-key"] == "k"
    assert set(told) <= set(names.CHECKED_HEADERS)
    headers, body = stack.seen.messages
    later = {each.key: each.raw_value.decode() for each in headers.request_headers.headers.headers}
    for said in (told, later):
        assert {name for name, value in spoofed.items() if said.get(name) == value} <= {"accept-encoding"}
    attributes = headers.attributes["envoy.filters.http.ext_proc"].fields
    assert attributes[names.PROC_REVISION_ATTRIBUTE].string_value == "4.9"
    assert attributes["source.address"].string_value.startswith("127.0.0.1:")
    for message in (headers, body):
        metadata = message.metadata_context.filter_metadata[names.AUTHZ_METADATA]
        assert metadata.fields["decision_id"].string_value == "d" * 32
    assert body.request_body.body == b"hello"
    ((received, sent),) = stack.seen.model
    assert sent == b"HELLO"
    lower = {name.lower(): value for name, value in received.items()}
    assert lower["x-other"] == "kept"
    assert "9.9.9.9" not in lower["x-forwarded-for"]
    gone = set(spoofed) | {"x-api-key"}
    left = {name for name in gone & set(lower) if lower[name] == spoofed.get(name, "k")}
    assert not left


async def test_denials_of_the_guard_keep_its_body_and_header(stack: Any) -> None:
    async with stack.client.post(stack.url, data=b"x", headers={"x-api-key": "deny"}) as answer:
        assert (answer.status, await answer.read()) == (503, b"said by the guard")
        assert answer.headers[names.HEADER_DECISION] == "guard"
        assert answer.headers["content-type"] == "text/x-guard"
    assert stack.seen.messages == []
    async with stack.client.post(stack.url, data=b"deny") as answer:
        assert (answer.status, await answer.read()) == (403, b"said by the guard")
        assert answer.headers[names.HEADER_DECISION] == "guard"
    assert stack.seen.model == []


BODIES: dict[str, tuple[Callable[[int], bytes], bool, int]] = {
    "empty": (lambda _: b"", False, 200),
    "at limit": (lambda limit: b"a" * limit, False, 200),
    "over limit": (lambda limit: b"a" * (limit + 1), False, 413),
    "far over limit": (lambda limit: b"a" * (limit * 3 + 500_000), False, 413),
    "gzip": (lambda _: b"plain", True, 200),
    "gzip far over limit": (lambda limit: numbers(limit * 3 + 200_000), True, 413),
}


def numbers(size: int) -> bytes:
    """Text that gzip makes only a few times smaller."""
    return b"".join(b"%d," % (n * n) for n in range(size // 6))[:size]


@pytest.mark.parametrize("limit", [1024, 256 * 1024 - 1, 256 * 1024, 3 * 1024 * 1024])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_bodies_are_bounded_after_decompression(stack: Any, limit: int, chunked: bool) -> None:
    inflates = SMALL_BODY <= limit < INFLATED_READ_AHEAD
    held = INFLATED_READ_AHEAD if inflates else limit  # the guard says 413 to what lies between
    for rule, (make, compressed, status) in BODIES.items():
        plain = make(held if status == 413 and chunked else limit)
        sent = gzip.compress(plain) if compressed else plain
        stack.seen.model.clear()
        got = await stack.post(sent, chunked=chunked, encoding="gzip" if compressed else "")
        assert got == status, rule
        if status == 413:
            assert stack.seen.model == [], rule
        else:
            ((headers, received),) = stack.seen.model
            assert received == plain.upper(), rule
            assert "Content-Encoding" not in headers


async def test_a_bomb_or_broken_data_is_truncated_alike_for_guard_and_model(stack: Any) -> None:
    for body in (gzip.compress(b"a" * 50_000_000), b"\x1f\x8b\x08 no gzip"):
        stack.seen.model.clear()
        stack.seen.messages.clear()
        assert await stack.post(body, chunked=False, encoding="gzip") in {200, 413}
        guarded = b"".join(message.request_body.body for message in stack.seen.messages)
        # too much for the guard's answer to be taken, or exactly what the guard made of what it saw
        assert [sent for _, sent in stack.seen.model] in ([], [guarded.upper()])


async def test_probe_never_reaches_the_model(stack: Any) -> None:
    async with stack.client.post(stack.url, data=b"hello", headers={names.HEADER_PROBE: "any"}) as answer:
        assert answer.status == 404
    assert stack.seen.checks[0].attributes.context_extensions[names.REVISION] == "4.9"
    assert stack.seen.checks[0].attributes.request.http.headers[names.HEADER_PROBE] == "any"
    first = stack.seen.messages[0].attributes["envoy.filters.http.ext_proc"].fields
    assert first[names.PROC_REVISION_ATTRIBUTE].string_value == "4.9"
    assert [message.WhichOneof("request") for message in stack.seen.messages] == [
        "request_headers",
        "request_body",
    ]
    assert stack.seen.model == []


async def test_undeclared_paths_cost_no_guard_call(stack: Any) -> None:
    async with stack.client.post(stack.url + "/other", data=io.BytesIO(b"a" * 5_000_000)) as answer:
        assert answer.status == 404
    assert stack.seen.checks == []
    assert stack.seen.messages == []
