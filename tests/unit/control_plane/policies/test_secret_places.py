"""Who may define secrets may not thereby choose where another secret's value goes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NoReturn

import pytest

from bartizan.errors import Conflict, DependencyUnavailable, InvalidInput
from control_plane.policies.actor import Actor
from control_plane.policies.definitions import Definitions
from control_plane.secrets.providers.places import Places
from control_plane.store.sql.store import SqlStore, open_store

ACTOR = Actor(token_id="t", name="op", role="operator")


@pytest.fixture
async def store() -> AsyncIterator[SqlStore]:
    made = await open_store()
    yield made
    await made.close()


def no_engine() -> NoReturn:
    raise DependencyUnavailable("none here")


def definition(path: str, **provider: str) -> dict[str, Any]:
    return {"path": path, "provider": {"kind": "http", "socket": "/run/keys.sock", **provider}}


@pytest.mark.parametrize(
    ("path", "provider"),
    [
        ("models/a", {}),
        ("models/b", {"headers_path": "models/a"}),
        ("models/b", {"headers_path": "models/b"}),
        ("admin/a", {}),
    ],
)
async def test_a_path_belongs_to_one_secret_alone(
    store: SqlStore, path: str, provider: dict[str, str]
) -> None:
    secrets = Definitions(store, no_engine)
    first = definition("models/a", headers_path="admin/a")
    await secrets.define("a", first, ACTOR)
    with pytest.raises(Conflict):
        await secrets.define("b", definition(path, **provider), ACTOR)
    await secrets.define("a", first, ACTOR)
    await secrets.define("c", definition("models/c", headers_path="admin/a"), ACTOR)
    async with store.begin() as work:
        assert {row.name for row in await work.secrets.all()} == {"a", "c"}


async def test_a_provider_where_the_operator_lists_none_is_refused_and_stores_nothing(
    store: SqlStore,
) -> None:
    secrets = Definitions(store, no_engine, places=Places.parse("https://keys.example"))
    with pytest.raises(InvalidInput) as refused:
        await secrets.define("a", definition("models/a"), ACTOR)
    assert [problem.path for problem in refused.value.problems] == ["provider.socket"]
    async with store.begin() as work:
        assert await work.secrets.all() == []
