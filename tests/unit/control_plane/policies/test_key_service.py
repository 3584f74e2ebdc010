"""Key sets: a key belongs to a set that there is, and its set's version tells who has to learn of it."""

from __future__ import annotations

import pytest

from bartizan.api import IssueKey
from bartizan.errors import NotFound
from control_plane.policies.actor import Actor
from control_plane.policies.keys import Keys
from control_plane.store.sql.store import open_store

ACTOR = Actor(token_id="1", name="tester", role="admin")


async def test_a_key_of_a_set_that_there_is_not_is_refused_and_leaves_nothing() -> None:
    store = await open_store()
    told: list[str] = []

    async def changed(name: str) -> None:
        told.append(name)

    keys = Keys(store, changed)
    with pytest.raises(NotFound):
        await keys.issue("chat", IssueKey(tenant="acme"), ACTOR)
    with pytest.raises(NotFound):
        await keys.version("chat")
    async with store.begin() as work:
        assert not await work.events.recent()
        assert not await work.key_sets.rows()
    assert not told

    await keys.create_set("chat", ACTOR)
    await keys.issue("chat", IssueKey(tenant="acme"), ACTOR)
    assert await keys.version("chat") == 2
    assert told == ["chat", "chat"]
    await store.close()
