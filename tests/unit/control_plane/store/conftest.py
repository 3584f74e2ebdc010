"""An empty store in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from control_plane.store.sql.store import SqlStore, open_store


@pytest.fixture
async def store() -> AsyncIterator[SqlStore]:
    made = await open_store()
    yield made
    await made.close()
