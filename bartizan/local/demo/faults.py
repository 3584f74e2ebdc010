"""Demo steps: the control plane, Envoy and the guard worker are killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import Counter

import aiohttp

from bartizan import tasks
from bartizan.local.demo.content import INJECTION
from bartizan.local.demo.runner import Observation, Step
from bartizan.local.demo.scene import POLICY, Scene


def steps(scene: Scene) -> list[Step]:
    async def child_pid(name: str) -> int:
        return (await scene.children())[name]

    async def back(name: str, old: int, seconds: float = 60) -> bool:
        """Whether the supervisor started a new `name` and the endpoint answers 200 again."""
        with contextlib.suppress(TimeoutError):
            async with tasks.timeout(seconds):
                while True:
                    with contextlib.suppress(aiohttp.ClientError, KeyError):
                        new = await child_pid(name)
                        answer = await scene.ask_once("the coffee is excellent", key=scene.keys["alice"])
                        if new != old and answer.status == 200:
                            return True
                    await asyncio.sleep(0.05)
        return False

    async def control_plane_down() -> Observation:
        assert scene.stack.control_plane is not None
        scene.stack.control_plane.signal(signal.SIGKILL)
        await scene.stack.control_plane.process.wait()
        before = await scene.ask("the coffee is excellent", key=scene.keys["alice"])
        envoy = await child_pid("envoy")
        os.kill(envoy, signal.SIGKILL)
        restarted = await back("envoy", envoy)
        after = await scene.ask("the coffee is excellent", key=scene.keys["alice"])
        refused = await scene.ask("the coffee is excellent")
        return Observation(
            ok=before.status == 200 and restarted and after.status == 200 and refused.status == 401,
            text=f"without control plane {before.status}; Envoy killed and back: {restarted}; then {after.status}, "
            f"without key {refused.status}",
        )

    async def control_plane_back() -> Observation:
        await scene.stack.start_control_plane()
        status = await scene.client.wait_enforced(POLICY, scene.version, timeout_seconds=60)
        return Observation(ok=status.enforced, text=f"version {status.version} enforced {status.summary}")

    async def worker_killed() -> Observation:
        worker = await child_pid("worker-0")
        reached = await injections_seen()
        answers: Counter[int | str] = Counter()
        done = asyncio.Event()

        async def attack() -> None:
            while not done.is_set():
                try:
                    answer = await scene.ask_once(INJECTION, key=scene.keys["alice"])
                    answers[answer.status] += 1
                except aiohttp.ClientError as error:
                    answers[type(error).__name__] += 1

        async def kill() -> bool:
            try:
                await asyncio.sleep(0.2)
                os.kill(worker, signal.SIGKILL)
                return await back("worker-0", worker)
            finally:
                done.set()

        async with tasks.Group() as group:
            group.create_task(attack(), name="attack")
            restarted = group.create_task(kill(), name="kill")
        passed = await injections_seen() - reached
        return Observation(
            ok=restarted.result() and passed == 0 and answers[200] == 0,
            text=f"worker back: {restarted.result()}; {sum(answers.values())} attacks meanwhile, {passed} reached the model",
            details=(f"answers: {dict(answers)}",),
        )

    async def injections_seen() -> int:
        return sum(seen["text"] == INJECTION for seen in (await scene.model.received())["last"])

    return [
        Step(
            name="control_plane_down",
            story="The control plane is killed, then Envoy too.",
            expected="still served and still guarded",
            play=control_plane_down,
        ),
        Step(
            name="control_plane_back",
            story="The control plane starts again.",
            expected="reconnected, enforced",
            play=control_plane_back,
        ),
        Step(
            name="worker_killed",
            story="The guard worker is killed under attack.",
            expected="back, nothing passed unchecked",
            play=worker_killed,
        ),
    ]
