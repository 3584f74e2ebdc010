"""Ships batches to the control plane's Audit.Upload over the agent's mTLS channel."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import grpc

from bartizan.errors import DependencyRefused, DependencyUnavailable
from protos.gen.bartizan.audit.v1 import audit_pb2, audit_pb2_grpc

TIMEOUT = 10.0
_REFUSALS = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED)


class ControlPlaneSink:
    """`channel` gives the current channel, or None while there is no identity yet."""

    def __init__(
        self, channel: Callable[[], grpc.aio.Channel | None], instance_id: Callable[[], str]
    ) -> None:
        self._channel = channel
        self._instance_id = instance_id

    async def store(self, records: Sequence[bytes]) -> int:
        """Raises DependencyUnavailable (try again) or DependencyRefused (this batch will never be taken)."""
        channel = self._channel()
        if channel is None:
            raise DependencyUnavailable("no channel to the control plane yet")
        stub = audit_pb2_grpc.AuditStub(channel)
        batch = audit_pb2.Batch(instance_id=self._instance_id(), records=records)
        try:
            reply = await stub.Upload(batch, timeout=TIMEOUT)
        except grpc.aio.AioRpcError as error:
            kind = DependencyRefused if error.code() in _REFUSALS else DependencyUnavailable
            raise kind(f"audit upload: {error.code().name.lower()}") from error
        return min(int(reply.stored), len(records))
