"""A store that is closed while somebody works with it leaves no connection behind."""

from __future__ import annotations

import asyncio
import gc
import sys
from pathlib import Path
from typing import Any

import pytest

from bartizan import tasks
from control_plane.store.sql.store import open_store


async def test_closing_waits_for_who_is_in_the_middle_of_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", left.append)
    async with asyncio.timeout(60):
        await closed_amid_a_change(f"sqlite+aiosqlite:///{tmp_path / 'store.db'}")
    gc.collect()
    assert left == []


async def closed_amid_a_change(url: str) -> None:
    store = await open_store(url)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def change() -> None:
        async with store.begin() as work:
            await work.policies.published()
            begun.set()
            await go_on.wait()

    async with asyncio.TaskGroup() as group:
        tasks.start(group, change(), name="change")
        await begun.wait()
        closing = tasks.start(group, store.close(), name="closing")
        await asyncio.sleep(0.05)  # without a wait, closing would be done by now
        go_on.set()
        await closing
