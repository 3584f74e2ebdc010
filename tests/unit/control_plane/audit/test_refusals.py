"""What was refused as admin events: each is recorded, and nobody fills the store with them."""

from __future__ import annotations

import asyncio

from bartizan import tasks
from control_plane.audit.refusals import RefusalLog
from control_plane.store.base import AdminEvent
from control_plane.store.sql.store import SqlStore, open_store


def refusal(name: str, at: float, actor: str = "spiffe://t/ns/n/sa/thief") -> AdminEvent:
    return AdminEvent(time=at, actor=actor, act="subscription.refuse", target="i-1", detail={"names": [name]})


async def recorded(store: SqlStore, log: RefusalLog) -> list[tuple[str, str]]:
    """Actors and names of all events, oldest first."""
    async with asyncio.TaskGroup() as group:
        running = tasks.start(group, log.run(), name="refusals")
        log.record(refusal("last", 0.0, "spiffe://t/ns/n/sa/marker"))
        events: list[tuple[str, str]] = []
        async with asyncio.timeout(60):
            while "last" not in [name for _, name in events]:
                await asyncio.sleep(0.01)
                async with store.begin() as work:
                    found = await work.events.recent(limit=1000)
                events = [(event.actor, event.detail["names"][0]) for event in reversed(found)]  # type: ignore[index]
        running.cancel()
    return events[:-1]


async def test_a_caller_that_asks_for_ever_new_names_leaves_ten_events_a_minute() -> None:
    now = 1000.0
    store = await open_store()
    log = RefusalLog(store)
    for number in range(100):
        log.record(refusal(str(number), now))
        log.record(refusal("0", now))
    log.record(refusal("other", now, "spiffe://t/ns/n/sa/other"))
    events = await recorded(store, log)
    assert [name for actor, name in events if actor.endswith("thief")] == [str(each) for each in range(10)]
    assert [name for actor, name in events if actor.endswith("other")] == ["other"]
    await store.close()


async def test_after_a_minute_the_same_is_told_again() -> None:
    now = 1000.0
    store = await open_store()
    log = RefusalLog(store)
    log.record(refusal("x", now))
    now += 59.0
    log.record(refusal("x", now))
    now += 1.0
    log.record(refusal("x", now))
    assert [name for _, name in await recorded(store, log)] == ["x", "x"]
    await store.close()
