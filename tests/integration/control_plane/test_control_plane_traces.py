"""The control plane's spans arrive at the operator's collector: one tree for an act, nothing of what was sent in it."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bartizan.client import Client
from bartizan.local.otlp import Receiver, Span, tree
from tests.support.control_plane_place import Place, new_place

SAMPLED = "01"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def place(tmp_path: Path, receiver: Receiver) -> AsyncIterator[Place]:
    async with new_place(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint) as made:
        yield made


async def test_an_act_is_one_tree_below_its_callers_span(
    place: Place, receiver: Receiver, tmp_path: Path, policy_text: str
) -> None:
    child = await place.start(tmp_path / "log")
    try:
        await place.ready()
        token = await place.admin()
        async with aiohttp.ClientSession() as session:
            trace_id = await _call(session, place, "/v1/policies", policy_text, token)
            spans = await receiver.wait(trace_id, "post_policies", "policy.publish", seconds=60)
            assert _names(spans) == [
                "0 post_policies",
                "1 policy.read",
                "1 policy.validate",
                "1 policy.compile",
                "1 policy.sign",
                "2 vault.transit_sign",
                "1 policy.publish",
            ]
            (top,) = [span for span in spans if span.name == "post_policies"]
            assert (top.service, top.parent_id) == ("bartizan-control-plane", "b7ad6b7169203331")
            assert top.attributes["http.response.status_code"] == "200"
            assert "acme" not in str(spans)

            refused = await _call(session, place, "/v1/policies", "kind: nothing", token, expect=422)
            spans = await receiver.wait(refused, "post_policies", seconds=60)
            assert _names(spans) == ["0 post_policies", "1 policy.read", "1 policy.validate"]
            assert spans[0].attributes["http.response.status_code"] == "422"

            stranger = await _call(session, place, "/v1/policies", policy_text, "bzt_guess", expect=401)
            absent = {"provider": {"kind": "http", "socket": str(tmp_path / "none.sock")}, "path": "p"}
            rotating = await _call(session, place, "/v1/secrets/up", json.dumps(absent), token, method="PUT")
            await receiver.wait(rotating, "put_secrets", seconds=60)
            assert receiver.trace(stranger) == [], "who is not known continues no trace"
        async with asyncio.timeout(60), Client(place.url, token, ca_file=place.ca) as client:
            while (await client.rotation("up")).error != "provider_unavailable":
                await asyncio.sleep(0.05)
    finally:
        await child.stop()
    told = [span for spans in receiver.traces() for span in spans]
    assert "get_readyz" not in {span.name for span in told}, "who looks whether we live fills no collector"
    phases = [span for span in told if span.name.startswith("rotation.")]
    starts = [span for span in phases if span.name == "rotation.start"]
    assert len(starts) == 1, "defining a secret begins its first rotation, which is a trace of its own"
    mine = [span for span in phases if span.trace_id == starts[0].trace_id]
    assert {"rotation.start", "rotation.plan"} <= {span.name for span in mine}
    assert all(span.parent_id == starts[0].span_id for span in mine if span is not starts[0])
    lines = [json.loads(line) for line in child.log.read_text().splitlines() if line.startswith("{")]
    (begun,) = [line for line in lines if line["event"] == "rotation_started"]
    assert begun["trace_id"] == starts[0].trace_id


def _names(spans: list[Span]) -> list[str]:
    return [f"{depth} {span.name}" for depth, span in tree(spans)]


async def _call(
    session: aiohttp.ClientSession,
    place: Place,
    path: str,
    body: str,
    token: str,
    *,
    expect: int = 200,
    method: str = "POST",
) -> str:
    """The trace that the call says it belongs to."""
    trace_id = secrets.token_hex(16)
    headers: dict[str, Any] = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json" if method == "PUT" else "application/yaml",
        "traceparent": f"00-{trace_id}-b7ad6b7169203331-{SAMPLED}",
    }
    async with session.request(
        method, place.url + path, data=body, headers=headers, ssl=place.context()
    ) as answer:
        assert answer.status == expect, await answer.text()
    return trace_id
