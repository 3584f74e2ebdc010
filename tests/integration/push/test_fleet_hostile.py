"""A compromised sidecar's reports: what can't be stored is refused, and keeps nobody else's from being stored."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest

from control_plane.store.base import ReportRow
from protos.gen.bartizan.fleet.v1 import fleet_pb2, fleet_pb2_grpc
from tests.support.push_stand import CHAT, OTHER, Plane, Sidecar

Report = fleet_pb2.InstanceReport


def _late(report: Report) -> None:
    report.sent_at.seconds = 2**62


@pytest.mark.parametrize(
    "change",
    [
        lambda report: report.MergeFrom(Report(sequence=2**64 - 1)),
        lambda report: report.MergeFrom(Report(boot_id="boot\0")),
        lambda report: report.MergeFrom(Report(boot_id="b" * 65)),
        lambda report: report.MergeFrom(Report(conditions=["x" * 1000] * 100)),
        lambda report: report.MergeFrom(Report(secret_versions={"x" * 100_000: "1"})),
        _late,
    ],
    ids=["sequence", "nul", "boot", "list", "name", "time"],
)
async def test_a_report_that_cannot_be_stored_is_refused_and_others_are_stored(
    plane: Plane, change: Callable[[Report], None]
) -> None:
    report = Report(instance_id="i-chat", boot_id="boot", sequence=1, ready=True)
    change(report)
    async with plane.channel(CHAT) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await fleet_pb2_grpc.FleetStub(channel).Report(report, timeout=60)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    await Sidecar(plane, "i-other", OTHER).report()
    rows: list[ReportRow] = []
    while not rows:
        async with plane.store.begin() as work:
            rows = list(await work.instances.reports())
    assert [row.instance_id for row in rows] == ["i-other"]
