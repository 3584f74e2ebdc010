"""Ports that somebody else has: each ends the start with one line that names the setting, and never is shared."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.control_plane_place import Place, new_place

pytestmark = [pytest.mark.xdist_group("ports"), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="place")
async def _place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    async with new_place(tmp_path_factory.mktemp("ports")) as made:
        yield made


@pytest.mark.parametrize("name", ["API", "METRICS", "GRPC", "ATTEST"])
async def test_a_port_that_is_taken_ends_the_start_with_a_line_that_names_its_setting(
    place: Place, tmp_path: Path, name: str
) -> None:
    host, _, port = place.environment[f"BARTIZAN_CP_{name}_LISTEN"].rpartition(":")
    with socket.socket() as taken:
        # As gRPC does unless told otherwise: with the port shared, both would be served half of the connections.
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind((host, int(port)))
        taken.listen()
        child = await place.start(tmp_path / "log")
        try:
            async with asyncio.timeout(60):
                status = await child.process.wait()
        finally:
            await child.stop()
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    failed = [line["reason"] for line in lines if line["event"] == "control_plane_failed"]
    wanted = f"{host}:{port} can't be listened on: address in use; BARTIZAN_CP_{name}_LISTEN names another"
    assert failed == [wanted]
    assert status == 5
