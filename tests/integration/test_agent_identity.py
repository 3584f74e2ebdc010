"""When a sidecar renews its identity: by the certificate's life, whatever happens to the wall clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from bartizan.local.binaries import find_binary
from bartizan.policy.signing import LocalSigner
from sidecar import settings
from sidecar.agent.changes import Changes
from sidecar.agent.conditions import Conditions
from sidecar.agent.identity import Identity
from sidecar.agent.sealed import Seal
from tests.support.agent_plane import Plane
from tests.support.agent_stand import signing_key

YEARS = 10 * 365 * 86400.0


@pytest.fixture
async def plane() -> AsyncIterator[Plane]:
    made = Plane(LocalSigner(signing_key()))
    await made.prepare()
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


def identity(folder: Path) -> Identity:
    loaded = settings.load(
        {
            "BARTIZAN_RUN_DIR": str(folder / "run"),
            "BARTIZAN_STATE_DIR": str(folder / "state"),
            "BARTIZAN_CERT_DIR": str(folder),
            "BARTIZAN_ENVOY": str(find_binary("envoy")),
            "BARTIZAN_JOIN_TOKEN_FILE": str(folder / "join-token"),
        }
    )
    return Identity(loaded, Seal(b"k" * 32), Conditions(Changes()))


async def test_a_wall_clock_that_jumps_changes_nothing_about_renewal(
    plane: Plane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "join-token").write_text(plane.new_token())
    made = identity(tmp_path)
    await made.attest()
    life = plane.life.total_seconds()
    wall = time.time

    def shifted(jump: float) -> float:
        return wall() + jump

    for jump in (YEARS, -YEARS):
        monkeypatch.setattr(time, "time", partial(shifted, jump))
        assert life - 60 < made.left <= life
        # nor may a jump make a kept identity look as if it lived longer than it ever did
        successor = identity(tmp_path)
        assert await asyncio.to_thread(successor.read_kept)
        assert -1 < successor.left < life + 600, "backdated by minutes"
