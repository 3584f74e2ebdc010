"""Demo step: the upstream key is rotated under load, without retries, without a failed request."""

from __future__ import annotations

import asyncio
from collections import Counter

import aiohttp

from bartizan import tasks
from bartizan.local.demo.runner import Observation, Step
from bartizan.local.demo.scene import SECRET, Scene

CLIENTS, REQUESTS = 4, 5000
LATE = {"overloaded", "deadline", "guard_unavailable", ""}
"""Causes of 503 when this machine stopped the guard for longer than anybody waits for it: no rotation's doing. None where
it was killed for that, and its newest record with it; what Envoy refuses by itself leaves one in any case."""


def steps(scene: Scene) -> list[Step]:
    async def rotation() -> Observation:
        old_keys = await scene.model.keys()
        old_value = await scene.current_upstream_key()
        results: Counter[str] = Counter()
        finished = asyncio.Event()

        async def load() -> None:
            # At least REQUESTS in total, and on until the rotation is over: every phase sees traffic.
            while sum(results.values()) < REQUESTS or not finished.is_set():
                try:
                    answer = await scene.ask_once("the manual is average", key=scene.keys["alice"])
                except aiohttp.ClientError as error:
                    results[type(error).__name__] += 1
                else:
                    late = answer.status == 503 and (await scene.audit_of(answer)).get("cause", "") in LATE
                    results["late" if late else str(answer.status)] += 1

        async def rotate() -> str:
            try:
                await scene.client.rotate(SECRET)
                return (await scene.client.wait_rotated(SECRET, timeout_seconds=120)).phase
            finally:
                finished.set()

        async with tasks.Group() as group:
            for number in range(CLIENTS):
                group.create_task(load(), name=f"client-{number}")
            outcome = group.create_task(rotate(), name="rotate")
        sent = sum(results.values())
        failed = sent - results["200"] - results["late"]
        dead = await scene.model.predict_directly("the manual is average", old_value)
        new_keys = await scene.model.keys()
        return Observation(
            ok=failed == 0 and sent >= REQUESTS and dead == 401 and new_keys != old_keys,
            text=f"{sent} requests by {CLIENTS} clients, {failed} failed{_late(results['late'])}; "
            f"the old key tried directly: {dead}",
            details=(f"rotation ended in phase {outcome.result()}", f"answers: {dict(results)}"),
        )

    return [
        Step(
            name="rotation",
            story=f"The key to the model is rotated while {CLIENTS} clients send.",
            expected="0 failed, old key 401",
            play=rotation,
        )
    ]


def _late(number: int) -> str:
    return f", {number} told to come again by a guard that was late" if number else ""
