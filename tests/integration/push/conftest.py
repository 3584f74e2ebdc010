"""A control plane's push and fleet half for every test of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.push_stand import Plane, push_stand


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    async with push_stand(tmp_path) as made:
        yield made
