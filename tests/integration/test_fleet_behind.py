"""A replica that is behind takes no reports: what it would answer is not worth a sidecar's staying with it."""

from __future__ import annotations

import grpc
import pytest

from control_plane.fleet.ledger import Ledger
from control_plane.fleet.service import FleetService
from control_plane.store.sql.store import open_store
from protos.gen.bartizan.fleet.v1 import fleet_pb2, fleet_pb2_grpc


async def test_reports_are_refused_as_unavailable_while_a_replica_is_behind() -> None:
    store = await open_store()
    behind = True
    service = FleetService(Ledger(), store, follows=lambda: not behind)
    server = grpc.aio.server()
    service.register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            # Without a certificate nobody is known: that is looked at once the replica is up to date.
            for code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.PERMISSION_DENIED):
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await fleet_pb2_grpc.FleetStub(channel).Report(
                        fleet_pb2.InstanceReport(instance_id="i"), timeout=60
                    )
                assert refused.value.code() is code
                behind = False
    finally:
        await server.stop(None)
        await store.close()
