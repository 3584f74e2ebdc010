"""A sidecar whose agent is stopped serves on with the old upstream key: that key is not revoked under it."""

from __future__ import annotations

import asyncio
import signal
import tempfile
import time
from pathlib import Path

import pytest
from rich.console import Console

from bartizan.api import RotationInfo
from bartizan.local.demo.main import stage
from bartizan.local.demo.scene import KEY_SET, SECRET, Scene
from tests.support.raw_client import shed


@pytest.mark.timeout(480)
async def test_a_rotation_waits_for_a_cut_off_sidecar_until_it_is_back_or_removed() -> None:
    with tempfile.TemporaryDirectory(prefix="bz-") as folder:
        async with stage(Path(folder), Console(quiet=True)) as scene:
            agent = scene.stack.sidecar
            assert agent is not None
            (instance,) = await scene.client.instances()
            lost = f"instance_lost:{instance.instance_id}"
            held = ("instances", lost)

            agent.signal(signal.SIGSTOP)
            issued = await scene.client.issue_key(KEY_SET, tenant="acme")
            await scene.client.revoke_key(KEY_SET, issued.id)
            late = await scene.client.wait_key_set(KEY_SET, timeout_seconds=0.5)
            assert (late.total, late.behind) == (1, (instance.instance_id,))
            await scene.client.rotate(SECRET)
            await until(scene, held)
            # lease, soak and drain are 3 s here; the old key outlives them all
            for _ in range(40):
                assert await status(scene) == 200
                await asyncio.sleep(0.25)
            assert (await scene.client.rotation(SECRET)).waiting_for == held
            agent.signal(signal.SIGCONT)
            assert (await scene.client.wait_rotated(SECRET, timeout_seconds=60)).finished
            assert await status(scene) == 200
            assert (await scene.client.wait_key_set(KEY_SET, timeout_seconds=60)).behind == ()

            agent.signal(signal.SIGSTOP)
            await scene.client.rotate(SECRET)
            await until(scene, held)
            await scene.client.remove_instance(instance.instance_id)
            assert (await scene.client.wait_rotated(SECRET, timeout_seconds=60)).finished


async def status(scene: Scene) -> int:
    """Asked again where the answer came only of waiting."""
    for _ in range(20):
        asked = time.monotonic()
        answer = await scene.ask("the manual is average", key=scene.keys["alice"])
        if not shed(answer.status, asked):
            break
    return answer.status


async def until(scene: Scene, waiting_for: tuple[str, ...]) -> RotationInfo:
    async with asyncio.timeout(60):
        while (info := await scene.client.rotation(SECRET)).waiting_for != waiting_for:
            await asyncio.sleep(0.1)
    return info
