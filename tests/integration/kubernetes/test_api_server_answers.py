"""What is no JSON, or no text at all, from an API server or a proxy before it: one of our errors, for a later try."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from bartizan.errors import DependencyRefused, DependencyUnavailable
from control_plane.kubernetes.api_server import ApiServer, connect
from control_plane.kubernetes.cluster_policies import ClusterPolicies
from tests.support.api_server_stand import write_kubeconfig

PATH = "/api/v1/namespaces/default/pods"
UNREADABLE = [
    pytest.param(b"<html>", id="no JSON"),
    pytest.param(b'{"kind": "\xff"}', id="no UTF-8"),
    pytest.param(b'{"kind": ' + b"[" * 5000, id="deep, and no JSON"),
]


class Answers:
    status = 200
    body = b""

    async def serve(self, _request: web.Request) -> web.Response:
        return web.Response(status=self.status, body=self.body, content_type="application/json")


@pytest.fixture
async def answers() -> Answers:
    return Answers()


@pytest.fixture
async def server(answers: Answers, tmp_path: Path) -> AsyncIterator[ApiServer]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answers.serve)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with connect(str(write_kubeconfig(tmp_path / "kubeconfig", site.name))) as made:
            yield made
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("body", UNREADABLE)
async def test_an_answer_that_cannot_be_read_is_for_later(
    answers: Answers, server: ApiServer, body: bytes
) -> None:
    answers.body = body
    with pytest.raises(DependencyUnavailable, match="can't be read"):
        await server.get(PATH)


@pytest.mark.parametrize("body", UNREADABLE)
async def test_an_event_that_cannot_be_read_is_for_later(
    answers: Answers, server: ApiServer, body: bytes
) -> None:
    answers.body = body + b"\n"
    with pytest.raises(DependencyUnavailable, match="can't be read"):
        async for _ in server.watch(PATH, "1"):
            pass


@pytest.mark.parametrize("body", UNREADABLE)
async def test_a_refusal_counts_by_its_status_where_its_words_cannot_be_read(
    answers: Answers, server: ApiServer, body: bytes
) -> None:
    answers.status, answers.body = 403, body
    with pytest.raises(DependencyRefused):
        await server.get(PATH)


WRONG = [
    1,
    "text",
    None,
    [],
    {},
    {"metadata": []},
    {"metadata": {"name": 1}},
    {"metadata": {"name": "x"}, "status": 1},
]
RIGHT = {"metadata": {"name": "chat", "namespace": "default", "resourceVersion": "7"}, "spec": {}}


async def test_an_item_that_is_no_object_of_the_kind_is_left_out_of_the_list(
    answers: Answers, server: ApiServer
) -> None:
    answers.body = msgspec.json.encode({"metadata": {"resourceVersion": "7"}, "items": [*WRONG, RIGHT]})
    found, version = await ClusterPolicies(server).list()
    assert ([one.qualified_name for one in found], version) == (["default/chat"], "7")


async def test_a_word_about_what_is_no_object_of_the_kind_keeps_no_later_one_waiting(
    answers: Answers, server: ApiServer
) -> None:
    words = [{"type": "ADDED", "object": one} for one in [*WRONG, RIGHT]]
    answers.body = b"".join(msgspec.json.encode(each) + b"\n" for each in words)
    seen = [(one, version) async for _, one, version in ClusterPolicies(server).watch("1")]
    assert [(one.qualified_name, version) for one, version in seen if one] == [("default/chat", "7")]


WIDE = b"[" * 90 + b"]" * 90
LARGE = msgspec.json.encode(
    {"metadata": {"name": "wide", "namespace": "hostile"}, "spec": {"description": "WIDE"}, "status": "WIDE"}
).replace(b'"WIDE"', b'{"a":[' + b",".join([WIDE] * 4_000) + b"]}")


async def test_what_an_object_says_in_half_a_million_lists_is_not_made_of_it(
    answers: Answers, server: ApiServer
) -> None:
    page = b'{"metadata": {"resourceVersion": "7"}, "items": [' + b",".join([LARGE] * 3) + b"]}"
    words = b'{"type": "ADDED", "object": ' + LARGE + b"}\n"
    policies = ClusterPolicies(server)
    tracemalloc.start()
    try:
        answers.body = page
        found, _ = await policies.list()
        answers.body = words * 3
        found = [*found, *[one async for _, one, _ in policies.watch("1") if one is not None]]
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [(one.qualified_name, one.too_large > 0) for one in found] == [("hostile/wide", True)] * 6
    assert most < 10 * len(page)
