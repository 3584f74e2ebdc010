"""Demo steps: who may call, and how much."""

from __future__ import annotations

import asyncio

from bartizan.local.demo.runner import Observation, Step
from bartizan.local.demo.scene import Scene

BURST = 100
"""The policy lets 20 requests of a key in at once, and 5 more each second."""


def steps(scene: Scene) -> list[Step]:
    async def no_key() -> Observation:
        before = (await scene.model.received())["requests"]
        answer = await scene.ask("the coffee is excellent")
        reached = (await scene.model.received())["requests"] - before
        return Observation(
            ok=answer.status == 401 and reached == 0,
            text=f"{answer.status}, model reached {reached} times",
            trace_id=await scene.trace_of(answer),
            details=(answer.body.decode(errors="replace"),),
        )

    async def valid_key() -> Observation:
        answer = await scene.ask("the coffee is excellent", key=scene.keys["alice"])
        if answer.status != 200:
            return Observation(ok=False, text=f"{answer.status} {answer.body.decode(errors='replace')[:200]}")
        seen = (await scene.model.received())["last"][-1]
        label = answer.json()["label"]
        return Observation(
            ok=label == "positive" and not seen["saw_client_credential"],
            text=f"200, the model says {label}; it saw the client's key: {seen['saw_client_credential']}",
            trace_id=await scene.trace_of(answer),
            details=(answer.body.decode(),),
        )

    async def other_tenant() -> Observation:
        answer = await scene.ask("the coffee is excellent", key=scene.keys["mallory"])
        return Observation(
            ok=answer.status == 403, text=f"{answer.status}", trace_id=await scene.trace_of(answer)
        )

    async def over_limit() -> Observation:
        # at once: one after the other, a slow machine may never be faster than the rate
        burst = (scene.ask("the coffee is excellent", key=scene.keys["visitor"]) for _ in range(BURST))
        answers = await asyncio.gather(*burst)
        refused = [answer for answer in answers if answer.status == 429]
        answer = (refused or answers)[0]
        retry_after = answer.headers.get("retry-after", "")
        return Observation(
            ok=bool(refused) and retry_after.isdigit(),
            text=f"{BURST} requests at once: {len(refused)} times 429, Retry-After {retry_after or 'missing'}",
            trace_id=await scene.trace_of(answer),
        )

    return [
        Step(name="no_key", story="A request without any credential.", expected="401", play=no_key),
        Step(
            name="valid_key", story="The same with alice's key.", expected="200, real answer", play=valid_key
        ),
        Step(
            name="other_tenant",
            story="A valid key, but of a tenant that the policy does not name.",
            expected="403",
            play=other_tenant,
        ),
        Step(
            name="over_limit",
            story="One key sends faster than its rate limit.",
            expected="429 with Retry-After",
            play=over_limit,
        ),
    ]
