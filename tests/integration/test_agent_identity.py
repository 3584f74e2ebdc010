"""When a sidecar renews its identity, whatever happens to the wall clock, and what it learns of trust by that."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import msgspec
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


def identity(folder: Path, trust: Path | None = None) -> Identity:
    loaded = settings.load(
        {
            "BARTIZAN_RUN_DIR": str(folder / "run"),
            "BARTIZAN_STATE_DIR": str(folder / "state"),
            "BARTIZAN_CERT_DIR": str(folder),
            "BARTIZAN_ENVOY": str(find_binary("envoy")),
            "BARTIZAN_JOIN_TOKEN_FILE": str(folder / "join-token"),
            **({"BARTIZAN_TRUST_FILE": str(trust)} if trust is not None else {}),
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


@pytest.mark.parametrize("mounted", [False, True], ids=["named by a join token", "in a mounted file"])
async def test_a_newer_trust_document_is_learned_at_a_renewal_and_kept(
    plane: Plane, tmp_path: Path, mounted: bool
) -> None:
    """How a new signing key reaches sidecars that run."""
    token, trust = tmp_path / "join-token", tmp_path / "trust.json"
    token.write_text(plane.new_token())
    trust.write_bytes(plane.trust.encode())
    made = identity(tmp_path, trust=trust if mounted else None)
    await made.attest()
    before = plane.trust
    new = LocalSigner(signing_key())
    keys = {**before.verification_keys, new.key_id: base64.b64encode(new.public_key).decode()}
    plane.trust = msgspec.structs.replace(before, verification_keys=keys)

    await made.renew()
    assert made.trust == before, "nobody has told it yet"
    foreign = msgspec.structs.replace(plane.trust, trust_domain="other.example")
    misnamed = msgspec.structs.replace(
        plane.trust, verification_keys={"x": next(iter(before.verification_keys.values()))}
    )
    for wrong in (foreign, misnamed):
        trust.write_bytes(wrong.encode())
        await made.renew()
        assert made.trust == before

    token.write_text(plane.new_token())
    trust.write_bytes(plane.trust.encode())
    await made.renew()
    assert made.trust == plane.trust
    successor = identity(tmp_path)
    assert await asyncio.to_thread(successor.read_kept)
    assert successor.trust == plane.trust


async def test_what_a_restarted_sidecar_learns_is_kept_at_once(plane: Plane, tmp_path: Path) -> None:
    token = tmp_path / "join-token"
    token.write_text(plane.new_token())
    await identity(tmp_path).attest()
    new = LocalSigner(signing_key())
    keys = {new.key_id: base64.b64encode(new.public_key).decode()}
    plane.trust = msgspec.structs.replace(plane.trust, verification_keys=keys)
    token.write_text(plane.new_token())
    restarted = identity(tmp_path)
    assert await asyncio.to_thread(restarted.read_kept)
    await restarted.refresh_trust()
    assert restarted.trust == plane.trust
    later = identity(tmp_path)
    assert await asyncio.to_thread(later.read_kept)
    assert later.trust == plane.trust, "its last good policy may be signed by the new key already"
