"""The Vault adapter against a real OpenBao: answers, error classes, and a server that is killed, frozen or sealed."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bartizan.errors import Conflict, DependencyRefused, DependencyUnavailable, NotFound
from bartizan.local.openbao import BUNDLE_KEY
from control_plane.secrets.vault import Vault, VaultSettings

SECRET = "canary-4c1d-value"


async def test_a_secret_is_written_by_compare_and_set_and_old_versions_stay_readable(vault: Vault) -> None:
    assert await vault.kv_write("t/cas", {"value": "1"}, 0) == 1
    assert await vault.kv_write("t/cas", {"value": "2"}, 1) == 2
    with pytest.raises(Conflict):
        await vault.kv_write("t/cas", {"value": "3"}, 1)
    assert (await vault.kv_read("t/cas")).data == {"value": "2"}
    assert (await vault.kv_read("t/cas", 1)).data == {"value": "1"}
    assert (await vault.kv_metadata("t/cas")).current_version == 2


async def test_a_destroyed_version_is_gone_and_shown_in_the_metadata(vault: Vault) -> None:
    await vault.kv_write("t/gone", {"value": "1"}, 0)
    await vault.kv_write("t/gone", {"value": "2"}, 1)
    await vault.kv_destroy("t/gone", 1)
    assert (await vault.kv_metadata("t/gone")).destroyed == {1}
    with pytest.raises(NotFound):
        await vault.kv_read("t/gone", 1)


async def test_transit_signatures_are_raw_ed25519(vault: Vault) -> None:
    signature = await vault.transit_sign(BUNDLE_KEY, b"data")
    keys = await vault.transit_public_keys(BUNDLE_KEY)
    assert [len(raw) for raw in keys.values()] == [32]
    Ed25519PublicKey.from_public_bytes(keys[1]).verify(signature, b"data")


async def test_what_the_policy_does_not_grant_is_refused(vault: Vault) -> None:
    with pytest.raises(DependencyRefused):
        await vault.transit_sign("another-key", b"data")


async def test_the_token_renews_itself(vault: Vault) -> None:
    assert await vault.renew_self() == 24 * 3600


async def test_the_canary_makes_it_healthy(vault: Vault) -> None:
    assert not vault.healthy
    assert (await vault.check()).healthy
    assert vault.healthy


async def test_same_reads_at_the_same_time_share_one_call(vault: Vault) -> None:
    await vault.kv_write("t/shared", {"value": "1"}, 0)
    answers = await asyncio.gather(*(vault.kv_read("t/shared") for _ in range(50)))
    assert all(answer is answers[0] for answer in answers)


async def test_a_frozen_server_is_unavailable_within_the_deadline_and_threads_do_not_pile_up(
    server: Any, vault: Vault
) -> None:
    await vault.kv_write("t/frozen", {"value": SECRET}, 0)
    vault = Vault(_settings(server, deadline=0.5, concurrency=3))
    server.bao.freeze()
    try:
        started = time.monotonic()
        results = await asyncio.gather(
            *(vault.kv_metadata(f"t/frozen{n}") for n in range(120)),
            *(vault.kv_write("t/frozen", {"value": SECRET}, 1) for _ in range(120)),
            return_exceptions=True,
        )
        assert time.monotonic() - started < 30, "they waited for each other: three at a time take 40 s"
        assert {type(result) for result in results} == {DependencyUnavailable}
        assert SECRET not in repr(results)
        assert sum(thread.name.startswith("vault") for thread in threading.enumerate()) <= 3 + 8
        assert (await vault.check()).reason in {"timeout", "unavailable"}
    finally:
        server.bao.resume()
    await _healthy(vault)
    await vault.close()


@pytest.mark.parametrize("deadline", [3.0])
async def test_a_killed_server_is_unavailable_and_the_adapter_works_again_after_its_restart(
    server: Any, vault: Vault
) -> None:
    await server.arun(server.bao.kill())
    with pytest.raises(DependencyUnavailable):
        await vault.kv_read("t/killed")
    assert not (await vault.check()).healthy
    await server.arun(server.bao.start())
    await _healthy(vault)


@pytest.mark.parametrize("deadline", [3.0])
async def test_a_sealed_server_is_unavailable(server: Any, vault: Vault) -> None:
    await server.arun(server.bao.seal())
    try:
        with pytest.raises(DependencyUnavailable):
            await vault.kv_write("t/sealed", {"value": SECRET}, 0)
    finally:
        await server.arun(server.bao.unseal())
    await _healthy(vault)


async def test_a_replaced_token_file_is_picked_up_when_the_old_token_is_refused(
    server: Any, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("s.thisTokenDoesNotExist00")
    vault = Vault(_settings(server, token_file=file))
    with pytest.raises(DependencyRefused):
        await vault.kv_metadata("t/any")
    file.write_text(server.bao.token_file.read_text())
    with pytest.raises(NotFound):
        await vault.kv_metadata("t/any")
    await vault.close()


async def test_a_server_with_another_ca_is_refused(server: Any, tmp_path: Path) -> None:
    vault = Vault(VaultSettings(address=server.bao.address, token_file=server.bao.token_file, ca_file=None))
    with pytest.raises(DependencyRefused):
        await vault.kv_metadata("t/any")
    await vault.close()


async def _healthy(vault: Vault) -> None:
    async with asyncio.timeout(60):
        while not (await vault.check()).healthy:
            await asyncio.sleep(0.1)


def _settings(
    server: Any, *, token_file: Path | None = None, deadline: float = 15.0, **changes: Any
) -> VaultSettings:
    return VaultSettings(
        address=server.bao.address,
        token_file=token_file or server.bao.token_file,
        ca_file=server.bao.ca_file,
        deadline=deadline,
        **changes,
    )


async def test_a_periodic_token_outlives_its_period_while_the_adapter_runs(
    server: Any, tmp_path: Path
) -> None:
    body = {"policies": ["bartizan-control-plane"], "no_default_policy": True, "period": "10s"}
    made = await server.arun(server.bao.call("POST", "auth/token/create-orphan", body))
    file = tmp_path / "token"
    file.write_text(made["auth"]["client_token"])
    vault = Vault(_settings(server, token_file=file, health_interval=0.5))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(vault.run())
        await asyncio.sleep(11)
        assert (await vault.check()).healthy
        running.cancel()
    with pytest.raises(NotFound):
        await vault.kv_metadata("t/none")
    await vault.close()
