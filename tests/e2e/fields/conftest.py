"""One sidecar for all modules of this folder: a test publishes the policy whose field it proves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.field_world import World, field_world


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    with field_world() as made:
        yield made
