"""The laptop's OpenBao: provisioned once, unsealed again over kept data, crash and freeze survived."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bartizan.errors import Conflict
from bartizan.local.openbao import BUNDLE_KEY, KV, PKI, TRANSIT, OpenBao


@pytest.fixture
async def bao(tmp_path: Path) -> AsyncIterator[OpenBao]:
    server = OpenBao(tmp_path / "openbao")
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def test_a_first_start_provisions_everything_the_control_plane_needs(bao: OpenBao) -> None:
    kv = (await bao.call("GET", f"{KV}/config"))["data"]
    assert kv["cas_required"] is True
    assert kv["max_versions"] >= 4
    assert "BEGIN CERTIFICATE" in (await bao.call("GET", f"{PKI}/cert/ca"))["data"]["certificate"]
    assert (await bao.call("GET", f"{TRANSIT}/keys/{BUNDLE_KEY}"))["data"]["type"] == "ed25519"


async def test_secret_files_are_readable_by_the_owner_only(bao: OpenBao) -> None:
    for file in (bao.token_file, bao.state / "unseal.json", bao.state / "tls.key", bao.state / "config.json"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert stat.S_IMODE(bao.state.stat().st_mode) == 0o700


async def test_data_ca_key_token_and_address_survive_kill_and_restart(bao: OpenBao) -> None:
    await bao.call("POST", f"{KV}/data/kept", {"options": {"cas": 0}, "data": {"value": "v"}})
    before = (
        bao.address,
        bao.token_file.read_text(),
        (await bao.call("GET", f"{PKI}/cert/ca"))["data"]["certificate"],
        (await bao.call("GET", f"{TRANSIT}/keys/{BUNDLE_KEY}"))["data"]["keys"],
    )
    await bao.kill()
    await bao.start()
    assert (await bao.call("GET", f"{KV}/data/kept"))["data"]["data"] == {"value": "v"}
    assert before == (
        bao.address,
        bao.token_file.read_text(),
        (await bao.call("GET", f"{PKI}/cert/ca"))["data"]["certificate"],
        (await bao.call("GET", f"{TRANSIT}/keys/{BUNDLE_KEY}"))["data"]["keys"],
    )


async def test_a_frozen_server_answers_again_after_resume(bao: OpenBao) -> None:
    bao.freeze()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await bao.call("GET", "sys/health")
    bao.resume()
    assert (await bao.call("GET", "sys/health"))["sealed"] is False


async def test_a_second_server_on_the_same_folder_is_refused_at_once(bao: OpenBao) -> None:
    ports = (bao.state / "ports.json").read_text()
    with pytest.raises(Conflict, match=str(bao.pid)):
        await OpenBao(bao.state).start()
    assert (bao.state / "ports.json").read_text() == ports
    assert (await bao.call("GET", "sys/health"))["sealed"] is False
