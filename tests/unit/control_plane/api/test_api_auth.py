"""Admin tokens: the bootstrap file, the end of a token's life, and the brake on guessing."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bartizan.api import NewToken
from bartizan.errors import Forbidden, InvalidInput
from control_plane.api.auth import (
    BOOTSTRAP,
    ROLES,
    Brake,
    Permission,
    Tokens,
    TooManyFailures,
    Unauthenticated,
    check_permission,
)
from control_plane.policies.actor import Actor
from control_plane.store.sql.store import SqlStore, open_store

PEER = "192.0.2.1"


@pytest.fixture
async def store() -> AsyncIterator[SqlStore]:
    made = await open_store()
    yield made
    await made.close()


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


async def first_admin(tokens: Tokens, path: Path, seconds: int = 60) -> str:
    assert await tokens.prepare_bootstrap() == path
    actor = await tokens.authenticate(path.read_text().strip(), PEER, "r")
    assert actor.role == BOOTSTRAP
    return (await tokens.create(NewToken(role="admin", name="a", ttl_seconds=seconds), actor)).token


async def test_the_bootstrap_file_is_private_and_dies_when_spent(store: SqlStore, tmp_path: Path) -> None:
    path = tmp_path / "token"
    tokens = Tokens(store, path)
    await tokens.prepare_bootstrap()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    secret = path.read_text().strip()
    token = await first_admin(tokens, path)
    assert not path.exists()
    with pytest.raises(Unauthenticated):
        await tokens.authenticate(secret, PEER, "r")
    assert (await tokens.authenticate(token, PEER, "r")).role == "admin"
    assert await Tokens(store, path).prepare_bootstrap() is None


async def test_the_bootstrap_token_makes_admins_only_and_only_the_first(
    store: SqlStore, tmp_path: Path
) -> None:
    one, other = Tokens(store, tmp_path / "one"), Tokens(store, tmp_path / "other")
    await one.prepare_bootstrap()
    await other.prepare_bootstrap()
    actor = Actor(token_id=BOOTSTRAP, name=BOOTSTRAP, role=BOOTSTRAP)
    with pytest.raises(Forbidden):
        await one.create(NewToken(role="viewer", name="v"), actor)
    await one.create(NewToken(role="admin", name="a"), actor)
    with pytest.raises(Forbidden):
        await other.create(NewToken(role="admin", name="a"), actor)


async def test_a_restart_after_the_last_admin_token_ended_gives_a_new_bootstrap(
    store: SqlStore, tmp_path: Path
) -> None:
    clock, path = Clock(), tmp_path / "token"
    token = await first_admin(Tokens(store, path, clock=clock), path)
    clock.now += 61
    tokens = Tokens(store, path, clock=clock)
    with pytest.raises(Unauthenticated):
        await tokens.authenticate(token, PEER, "r")
    assert await tokens.prepare_bootstrap() == path


async def test_an_unspent_bootstrap_file_survives_a_restart(store: SqlStore, tmp_path: Path) -> None:
    path = tmp_path / "token"
    await Tokens(store, path).prepare_bootstrap()
    secret = path.read_text().strip()
    tokens = Tokens(store, path)
    await tokens.prepare_bootstrap()
    assert (await tokens.authenticate(secret, PEER, "r")).role == BOOTSTRAP


async def test_guessing_is_braked_but_does_not_lock_out_who_is_known(store: SqlStore, tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "token"
    tokens = Tokens(store, path, clock=clock, brake=Brake(burst=3, refill_seconds=10))
    token = await first_admin(tokens, path)
    await tokens.authenticate(token, PEER, "r")
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            await tokens.authenticate("bzt_guess", PEER, "r")
    with pytest.raises(TooManyFailures) as braked:
        await tokens.authenticate("bzt_guess", PEER, "r")
    assert 0 < braked.value.retry_after <= 10
    await tokens.authenticate(token, PEER, "r")
    with pytest.raises(Unauthenticated):
        await tokens.authenticate("bzt_guess", "192.0.2.2", "r")
    clock.now += braked.value.retry_after
    with pytest.raises(Unauthenticated):
        await tokens.authenticate("bzt_guess", PEER, "r")


@pytest.mark.parametrize("role", [role for role in ROLES if role not in {"auditor", BOOTSTRAP}])
async def test_limits_to_tenants_are_for_auditors_only(store: SqlStore, tmp_path: Path, role: Any) -> None:
    tokens, admin = Tokens(store, tmp_path / "token"), Actor(token_id="1", name="a", role="admin")
    with pytest.raises(InvalidInput) as refused:
        await tokens.create(NewToken(role=role, name="x", tenants=("acme",)), admin)
    assert [problem.path for problem in refused.value.problems] == ["tenants"]
    await tokens.create(NewToken(role="auditor", name="x", tenants=("acme",)), admin)


async def test_a_limited_token_from_before_makes_no_unlimited_one(store: SqlStore, tmp_path: Path) -> None:
    limited = Actor(token_id="1", name="a", role="admin", tenants=("acme",))
    with pytest.raises(Forbidden):
        await Tokens(store, tmp_path / "token").create(NewToken(role="auditor", name="x"), limited)


async def test_who_presents_an_expired_token_is_told_so_and_is_no_guesser(
    store: SqlStore, tmp_path: Path
) -> None:
    clock, path = Clock(), tmp_path / "token"
    tokens = Tokens(store, path, clock=clock, brake=Brake(burst=1, refill_seconds=1000))
    token = await first_admin(tokens, path)
    await tokens.authenticate(token, PEER, "r")
    clock.now += 61
    for _ in range(3):
        with pytest.raises(Unauthenticated, match="expired: make a new one"):
            await tokens.authenticate(token, PEER, "r")
    with pytest.raises(Unauthenticated, match="no valid"):
        await tokens.authenticate(token + "x", PEER, "r")


def test_the_brake_is_bounded_and_knows_an_ipv6_network_as_one_peer() -> None:
    brake = Brake(burst=1, refill_seconds=10, addresses=2)
    brake.failed("2001:db8::1", 0.0)
    assert brake.wait("2001:db8::ffff", 0.0) > 0
    assert brake.wait("2001:db8:1::1", 0.0) == 0
    brake.failed("192.0.2.1", 0.0)
    brake.failed("192.0.2.2", 0.0)
    assert brake.wait("2001:db8::1", 0.0) == 0


@pytest.mark.parametrize("permission", list(Permission))
def test_every_permission_is_held_by_admins_and_not_by_viewers(permission: Permission) -> None:
    check_permission(Actor(token_id="1", name="a", role="admin"), permission)
    allowed = {role for role, held in ROLES.items() if permission in held}
    assert ("viewer" in allowed) is (permission is Permission.READ)
    with pytest.raises(Forbidden):
        check_permission(Actor(token_id="1", name="a", role="unknown"), permission)


async def test_a_bootstrap_token_of_any_replica_is_taken_at_all_and_its_use_ends_all(
    store: SqlStore, tmp_path: Path
) -> None:
    one, other = Tokens(store, tmp_path / "one"), Tokens(store, tmp_path / "other")
    for each in (one, other):
        await each.prepare_bootstrap()
    secrets = [(tmp_path / name).read_text().strip() for name in ("one", "other")]
    actors = [await one.authenticate(secret, PEER, "r") for secret in secrets]
    assert [actor.role for actor in actors] == [BOOTSTRAP, BOOTSTRAP]
    made = await one.create(NewToken(role="admin", name="a", ttl_seconds=60), actors[1])
    with pytest.raises(Forbidden):
        await other.create(NewToken(role="admin", name="b", ttl_seconds=60), actors[0])
    for each in (one, other):
        for secret in secrets:
            with pytest.raises(Unauthenticated):
                await each.authenticate(secret, PEER, "r")
    admin = await other.authenticate(made.token, PEER, "r")
    await other.revoke(made.id, admin)
    # No admin is left: a new start gives a way in, and not by the file that was left of a spent one.
    assert (tmp_path / "other").exists()
    await Tokens(store, tmp_path / "other").prepare_bootstrap()
    fresh = (tmp_path / "other").read_text().strip()
    assert fresh not in secrets
    assert (await one.authenticate(fresh, PEER, "r")).role == BOOTSTRAP
