"""Lists of a large fleet: in pages that hold every row once, whatever comes meanwhile; the client follows them by itself."""

from __future__ import annotations

from typing import Any

import pytest

from bartizan import api
from bartizan.errors import InvalidInput
from bartizan.policy.keyset import KeyRecord
from control_plane.fleet.proof import Instance, Wanted
from control_plane.store.base import InstanceRow, KeyRow
from tests.support.commands import Commands

MANY = 1_203
SPIFFE = "spiffe://test.local/ns/prod/sa/model"


def identifier(number: int) -> str:
    return f"{number:016x}"


def instance(number: int) -> InstanceRow:
    """Three of each moment: times alone do not tell where a page ended."""
    return InstanceRow(
        instance_id=identifier(number),
        spiffe_id=SPIFFE,
        namespace="prod",
        labels={"app": "chat"},
        created_at=1_000.1 + number // 3,
    )


def key(number: int) -> KeyRow:
    record = KeyRecord(id=identifier(number), hash=identifier(number), tenant="acme")
    return KeyRow(key_set="chat", record=record, created_at=1_000.1 + number // 3, created_by="a")


@pytest.fixture
async def fleet(house: Any) -> Any:
    async with house.client() as client:
        await client.create_key_set("chat")
    async with house.store.begin() as work:
        for number in range(MANY):
            await work.instances.add(instance(number))
            await work.key_sets.add_key(key(number))
    house.ledger.want(
        Wanted(
            policy="prod/chat",
            namespace="prod",
            match_labels={"app": "chat"},
            revision=1,
            version=1,
            plan_hash="h",
        )
    )
    for number in range(MANY):
        row = instance(number)
        house.ledger.admit(
            Instance(instance_id=row.instance_id, spiffe_id=SPIFFE, namespace="prod", labels={"app": "chat"})
        )
    return house


async def test_the_client_and_the_commands_follow_pages(fleet: Any, commands: Commands) -> None:
    wanted = [identifier(number) for number in range(MANY)]
    async with fleet.client() as client:
        assert [each.instance_id for each in await client.instances()] == wanted
        assert [each.id for each in (await client.keys("chat")).keys] == wanted
        status = await client.status("prod/chat")
        waited = await client.wait_settled("prod/chat", timeout_seconds=0)
    for one in (status, waited):
        assert [row.instance_id for row in one.instances] == wanted
        assert (one.total, one.enforced_count, one.unsettled_count, one.settled) == (MANY, 0, MANY, False)
    assert len(await commands.told("instances")) == MANY
    assert len((await commands.told("keys", "list", "chat"))["keys"]) == MANY


@pytest.mark.parametrize(
    ("path", "answer", "rows"),
    [
        ("/v1/instances", api.InstanceList, lambda page: [each.instance_id for each in page.instances]),
        ("/v1/key-sets/chat/keys", api.KeyList, lambda page: [each.id for each in page.keys]),
        (
            "/v1/policies/prod/chat/status",
            api.PolicyStatus,
            lambda page: [each.instance_id for each in page.instances],
        ),
    ],
    ids=["instances", "keys", "status"],
)
async def test_pages_hold_each_row_once_although_one_goes_and_one_comes(
    path: str, answer: Any, rows: Any, fleet: Any
) -> None:
    seen: list[str] = []
    cursor: str | None = ""
    async with fleet.client() as client:
        while cursor is not None:
            page = await client.send("GET", path, answer, query={"limit": "100", "cursor": cursor})
            seen += rows(page)
            if len(seen) == 100:
                await client.remove_instance(identifier(99))
                fleet.ledger.dismiss(identifier(99))
                async with fleet.store.begin() as work:
                    await work.instances.add(instance(MANY))
                    await work.key_sets.add_key(key(MANY))
                fleet.ledger.admit(
                    Instance(
                        instance_id=identifier(MANY),
                        spiffe_id=SPIFFE,
                        namespace="prod",
                        labels={"app": "chat"},
                    )
                )
            cursor = page.cursor or None
    assert seen == [identifier(number) for number in range(MANY + 1)]


@pytest.mark.parametrize("path", ["/v1/instances", "/v1/key-sets/chat/keys"])
async def test_a_cursor_that_nobody_gave_out_is_refused(path: str, house: Any) -> None:
    async with house.client() as client:
        await client.create_key_set("chat")
        for query in ({"cursor": "!"}, {"cursor": "AAAA"}, {"limit": "0"}, {"limit": "1001"}):
            with pytest.raises(InvalidInput):
                await client.send("GET", path, None, query=query)
