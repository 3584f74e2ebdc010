"""The pool of guard workers with real worker processes: what they hold after a plan was refused."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from bartizan.errors import ResourceRejected
from bartizan.policy.bundle import GuardModel, GuardPlan
from sidecar.agent.changes import Changes
from sidecar.agent.workers import WorkerPool

PLAN = GuardPlan(
    id="1.1",
    policy="default/tiny",
    revision=1,
    model=GuardModel(name="m", protocol="opaque"),
    tenants=("t",),
    api_key_set="k",
)
UNLOADABLE = msgspec.structs.replace(PLAN, tenants=())


@pytest.fixture
async def pool() -> AsyncIterator[WorkerPool]:
    with tempfile.TemporaryDirectory(prefix="bz-") as folder:
        made = WorkerPool(
            count=1,
            run_dir=Path(folder),
            probe_key=bytes(32),
            environment={"PATH": os.environ["PATH"]},
            changes=Changes(),
            on_audit=lambda _records: None,
        )
        async with asyncio.TaskGroup() as group:
            made.start(group)
            yield made
            await made.stop(5.0)


async def until_loaded(pool: WorkerPool, plan_id: str) -> None:
    async with asyncio.timeout(30):
        while pool.loaded(plan_id) < pool.count:
            await asyncio.sleep(0.02)


async def test_a_refused_plan_gives_the_one_of_its_id_back(pool: WorkerPool) -> None:
    await pool.load(PLAN)
    with pytest.raises(ResourceRejected, match="plan_not_loadable"):
        await pool.load(UNLOADABLE)
    await until_loaded(pool, PLAN.id)


async def test_a_refused_plan_of_a_new_id_is_held_by_nobody(pool: WorkerPool) -> None:
    await pool.load(PLAN)
    with pytest.raises(ResourceRejected, match="plan_not_loadable"):
        await pool.load(msgspec.structs.replace(UNLOADABLE, id="1.2"))
    assert (pool.loaded("1.1"), pool.loaded("1.2")) == (1, 0)
