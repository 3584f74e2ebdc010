"""What replicas write beside each other: the newer report stands, and each speaks only for its own sidecars."""

from __future__ import annotations

import pytest

from control_plane.store.base import InstanceRow, ReportRow
from control_plane.store.sql.announce import Announcement, read
from control_plane.store.sql.store import SqlStore


async def test_a_late_report_never_replaces_a_newer_one(store: SqlStore) -> None:
    def report(sequence: int, *, boot: str = "b", at: float = 5, replica: str = "one") -> ReportRow:
        return ReportRow(
            instance_id="i",
            boot_id=boot,
            sequence=sequence,
            received_at=at,
            report=b"",
            replica=replica,
            live=True,
        )

    instance = InstanceRow(instance_id="i", spiffe_id="s", namespace="a", labels={}, created_at=1)
    async with store.begin() as work:
        await work.instances.add(instance)
        for written, stands in (
            (report(2), (2, "b", "one")),
            (report(1, replica="two"), (2, "b", "one")),
            (report(3, replica="two"), (3, "b", "two")),
            (report(1, boot="c", at=6), (1, "c", "one")),
            (report(9, at=5, replica="two"), (1, "c", "one")),
        ):
            await work.instances.put_reports([written], now=7)
            (row,) = await work.instances.reports()
            assert (row.sequence, row.boot_id, row.replica) == stands


async def test_a_replica_silences_only_who_reported_to_it_last(store: SqlStore) -> None:
    async with store.begin() as work:
        for name in ("a", "b", "c"):
            row = InstanceRow(instance_id=name, spiffe_id="s", namespace="a", labels={}, created_at=1)
            await work.instances.add(row)
        rows = [
            ReportRow(
                instance_id=name,
                boot_id="b",
                sequence=1,
                received_at=1,
                report=b"",
                replica=replica,
                live=True,
            )
            for name, replica in (("a", "one"), ("b", "one"), ("c", "two"))
        ]
        await work.instances.put_reports(rows, now=10)
        await work.instances.silence("one", ["a", "c"], now=20)
        assert {row.instance_id: row.live for row in await work.instances.reports()} == {
            "a": False,
            "b": True,
            "c": True,
        }
        assert [row.instance_id for row in await work.instances.reports(since=15)] == ["a"]
        assert [row.instance_id for row in await work.instances.reports(of=["b"])] == ["b"]
        await work.instances.silence("two", None, now=30)
        assert {row.instance_id for row in await work.instances.reports() if row.live} == {"b"}


async def test_a_replica_is_alive_until_its_time_is_over_or_it_leaves(store: SqlStore) -> None:
    async with store.begin() as work:
        await work.replicas.beat("one", now=0, life=10)
        await work.replicas.beat("two", now=5, life=10)
        assert await work.replicas.alive(now=9) == {"one", "two"}
        assert await work.replicas.alive(now=10) == {"two"}
        await work.replicas.beat("one", now=12, life=10)
        await work.replicas.leave("two")
        assert await work.replicas.alive(now=13) == {"one"}


async def test_what_all_others_know_is_what_the_last_of_them_knows(store: SqlStore) -> None:
    async with store.begin() as work:
        await work.replicas.beat("me", now=10, life=10, knows_at=0)
        assert await work.replicas.known(but="me", since=0) == float("inf"), "there is no other"
        await work.replicas.beat("one", now=10, life=10, knows_at=8)
        await work.replicas.beat("two", now=10, life=10)
        assert await work.replicas.known(but="me", since=0) == 0, "it has just started"
        await work.replicas.beat("two", now=12, life=10, knows_at=10)
        assert await work.replicas.known(but="me", since=0) == 8
        assert await work.replicas.known(but="me", since=20) == 10, "one has long been gone"
        await work.replicas.leave("two")
        assert await work.replicas.known(but="me", since=20) == float("inf")


@pytest.mark.parametrize(
    ("payload", "kind", "names"),
    [
        ("other policy prod/chat", "policy", {"prod/chat"}),
        ("other report a b", "report", {"a", "b"}),
        ("me policy prod/chat", "", set()),
        ("other unheard-of x", "", set()),
        ("", "", set()),
    ],
)
def test_only_what_others_announce_and_we_understand_is_a_change(
    payload: str, kind: str, names: set[str]
) -> None:
    change = read(payload, "me")
    assert (change.kind if change else "") == kind
    assert (change.names if change else set()) == names


def test_many_names_are_announced_in_pieces_that_postgresql_takes() -> None:
    announcement = Announcement()
    names = {f"{number:032d}" for number in range(1000)}
    for name in names:
        announcement.note("report", name)
    payloads = announcement.payloads("me")
    assert max(len(each.encode()) for each in payloads) < 8000
    heard = [read(each, "you") for each in payloads]
    assert set().union(*(change.names for change in heard if change)) == names
