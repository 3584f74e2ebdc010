"""Traps of bodies that come with the ext_authz call: text that is no text, parts of a body, headers that claim one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from protos.gen.envoy.extensions.filters.http.ext_authz.v3.ext_authz_pb2 import ExtAuthz
from tests.e2e.traps.conftest import POLICY
from tests.support.watched_guard import (
    Stand,
    StaticConfig,
    chat,
    filter_of,
    in_chunks,
    manager_of,
    watched,
    with_length,
)

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("traps"), pytest.mark.asyncio(loop_scope="module")]

EXT_AUTHZ = "envoy.filters.http.ext_authz"
DECIDES = POLICY[: POLICY.index("  input:")] + "  input: [{promptInjection: {}}]\n"
"""Checks that only decide: one call judges small bodies."""
FORBIDDEN = chat("secret words", model="beta")
NO_TEXT = chat("caf\xe9").replace(b"caf\\u00e9", b"caf\xe9\xff\x00")


def settings_of(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """`with_request_body` of each route that has one."""
    for host in manager_of(config)["route_config"]["virtual_hosts"]:
        for route in host["routes"]:
            settings = route.get("typed_per_filter_config", {}).get(EXT_AUTHZ, {}).get("check_settings", {})
            if "with_request_body" in settings:
                yield settings["with_request_body"]


def body_of(stand: Stand) -> tuple[bytes, str]:
    http = stand.checks.asked[-1].attributes.request.http
    return http.raw_body, http.body


async def test_a_body_comes_as_the_bytes_that_it_is(static_config: StaticConfig) -> None:
    """As a string field bytes that are no UTF-8 would be replaced: the guard would judge another body than the model
    reads.
    """
    async with watched(DECIDES, static_config) as stand:
        assert (await stand.send(with_length(NO_TEXT))).status == 400
        assert body_of(stand) == (NO_TEXT, "")
        assert not stand.model.received


async def test_a_route_s_word_about_bytes_is_ignored(static_config: StaticConfig) -> None:
    """The trap itself: only the filter's own `pack_as_bytes` counts, whatever its routes say."""

    def text(config: dict[str, Any]) -> None:
        filter_of(config, EXT_AUTHZ)["with_request_body"].pop("pack_as_bytes")
        assert all(body["pack_as_bytes"] for body in settings_of(config))

    async with watched(DECIDES, static_config, alter=text) as stand:
        reply = await stand.send(with_length(FORBIDDEN))
        raw, said = body_of(stand)
        assert raw == b""
        assert said.encode() == FORBIDDEN
        assert reply.status == 503, "the guard misses the body that was announced, and lets nothing pass"
        assert not stand.model.received


async def test_no_part_of_a_body_is_asked_for(static_config: StaticConfig) -> None:
    """`allow_partial_message` asks with the first bytes and passes the rest unseen; `x-envoy-auth-partial-body` of a
    client means nothing.
    """
    seen: list[dict[str, Any]] = []

    def note(config: dict[str, Any]) -> None:
        seen.extend([filter_of(config, EXT_AUTHZ)["with_request_body"], *settings_of(config)])

    async with watched(DECIDES, static_config, alter=note) as stand:
        for make in (with_length, in_chunks):
            raw = make(FORBIDDEN).replace(b"host: a", b"host: a\r\nx-envoy-auth-partial-body: true")
            assert (await stand.send(raw)).status == 403
        assert not stand.model.received
    assert len(seen) > 1
    for settings in seen:
        made = ParseDict({"with_request_body": settings}, ExtAuthz()).with_request_body
        assert made.pack_as_bytes
        assert not made.allow_partial_message


@pytest.mark.parametrize("size", [32 * 1024 - 1, 32 * 1024, 32 * 1024 + 1, 200_000])
async def test_there_is_no_size_at_which_a_body_is_not_judged(static_config: StaticConfig, size: int) -> None:
    """Where one way of judging ends and the other begins, nothing passes between them."""
    body = FORBIDDEN.replace(b"secret words", b"a" * (size - len(FORBIDDEN) + len(b"secret words")))
    assert len(body) == size
    async with watched(DECIDES, static_config) as stand:
        assert (await stand.send(with_length(body))).status == 403
        assert (await stand.send(in_chunks(body))).status == 403
        assert not stand.model.received
        assert (await stand.send(with_length(body.replace(b"beta", b"chat")))).status == 200
        assert len(stand.model.received) == 1
