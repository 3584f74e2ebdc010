"""The pool of guard workers with real worker processes: what they hold after a plan was refused, which ones it kills."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from bartizan.errors import ResourceRejected
from bartizan.policy.bundle import GuardModel, GuardPlan
from bartizan.policy.keyset import KeyRecord, KeySet
from sidecar.agent.changes import Changes
from sidecar.agent.worker import HUNG_AFTER
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
def lost() -> list[None]:
    """One for each worker that may have ended with records."""
    return []


@pytest.fixture
async def pool(lost: list[None]) -> AsyncIterator[WorkerPool]:
    with tempfile.TemporaryDirectory(prefix="bz-") as folder:
        made = WorkerPool(
            count=1,
            run_dir=Path(folder),
            probe_key=bytes(32),
            environment={"PATH": os.environ["PATH"]},
            changes=Changes(),
            on_audit=lambda _records: None,
            on_lost=lambda: lost.append(None),
        )
        async with asyncio.TaskGroup() as group:
            made.start(group)
            yield made
            await made.stop(5.0)


async def until(happened: Callable[[], object], within: float = 60.0) -> None:
    async with asyncio.timeout(within):
        while not happened():
            await asyncio.sleep(0.02)


async def until_loaded(pool: WorkerPool, plan_id: str) -> None:
    await until(lambda: pool.loaded(plan_id) == pool.count)


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


async def test_workers_that_are_told_to_end_lose_no_records(pool: WorkerPool, lost: list[None]) -> None:
    await pool.load(PLAN)
    await pool.stop(60.0)
    assert not lost


async def test_a_worker_that_ends_by_itself_hands_in_its_records(pool: WorkerPool, lost: list[None]) -> None:
    await pool.load(PLAN)
    (ended,) = pool.pids()
    os.kill(ended, signal.SIGTERM)
    await until(lambda: pool.pids() not in ([], [ended]))
    await until_loaded(pool, PLAN.id)
    assert not lost


async def test_a_worker_that_dies_while_all_are_told_to_end_may_have_lost_records(
    pool: WorkerPool, lost: list[None]
) -> None:
    await pool.load(PLAN)
    (stopped,) = pool.pids()
    os.kill(stopped, signal.SIGSTOP)
    async with asyncio.TaskGroup() as group:
        stopping = group.create_task(pool.stop(60.0))
        await asyncio.sleep(0)
        os.kill(stopped, signal.SIGKILL)
        await stopping
    assert lost == [None]


async def test_a_stopped_worker_is_killed_and_replaced_and_its_records_are_called_lost(
    pool: WorkerPool, lost: list[None]
) -> None:
    await pool.load(PLAN)
    # It has answered once: until then it may take long to start.
    await until(lambda: pool.metrics() and pool.pids())
    (stopped,) = pool.pids()
    os.kill(stopped, signal.SIGSTOP)
    await until(lambda: pool.pids() not in ([], [stopped]))
    await until_loaded(pool, PLAN.id)
    assert lost == [None]


@contextlib.contextmanager
def throttled(pid: int) -> Iterator[None]:
    """A thousandth of a processor for this process. Needs root and a controller of processors for groups."""
    root = Path("/sys/fs/cgroup")
    first = (root / "cgroup.controllers").exists()
    group = (root if first else root / "cpu") / f"bartizan-test-{pid}"
    limits = (
        {"cpu.max": "1000 1000000"} if first else {"cpu.cfs_period_us": "1000000", "cpu.cfs_quota_us": "1000"}
    )
    try:
        group.mkdir()
        for name, value in limits.items():
            (group / name).write_text(value)
    except OSError as error:
        with contextlib.suppress(OSError):
            group.rmdir()
        pytest.skip(f"no group with a limit of processors can be made here: {error.strerror}")
    before = Path("/proc/self/cgroup").read_text()
    home = next(line.split(":")[2] for line in before.splitlines() if first or line.split(":")[1] == "cpu")
    (group / "cgroup.procs").write_text(str(pid))
    try:
        yield
    finally:
        ((root if first else root / "cpu") / home.lstrip("/") / "cgroup.procs").write_text(str(pid))
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                group.rmdir()
                break


async def test_a_worker_that_gets_no_processor_is_not_killed_for_its_silence(pool: WorkerPool) -> None:
    await pool.load(PLAN)
    await until(lambda: pool.metrics() and pool.pids())
    (starved,) = pool.pids()
    (worker,) = pool._workers.values()

    def silent() -> bool:
        return worker._silence._watched > HUNG_AFTER

    with throttled(starved):
        for version in range(
            1, 6
        ):  # a few milliseconds of work: seconds now, if it is enough for this machine
            records = [
                KeyRecord(id=f"{number}", hash=f"{number:064}", tenant="t")
                for number in range(2000 << version)
            ]
            pool.set_keys(KeySet(name="k", version=version, keys=tuple(records)))
            await until(lambda: silent() or worker.key_sets.get("k") == version)  # noqa: B023 - awaited here
            if silent():
                break
        assert silent()
        assert pool.pids() == [starved]
    await until(lambda: not worker._silence._watched)
    assert pool.pids() == [starved]
