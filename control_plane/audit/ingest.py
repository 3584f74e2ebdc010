"""gRPC shell of Audit.Upload on the mTLS port: who sends is checked against its certificate, records against their type.

Answered only after the store has them: what an agent forgets is what we keep.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grpc
import grpc.aio

from bartizan.errors import BartizanError, DependencyUnavailable, Forbidden, InvalidInput
from bartizan.telemetry import metrics
from bartizan.telemetry.logging import get_logger
from bartizan.xds.server import peer_info
from control_plane.audit.records import rows
from control_plane.store.base import AuditRow, Store
from protos.gen.bartizan.audit.v1 import audit_pb2, audit_pb2_grpc

MAX_RECORDS = 5000
log = get_logger()


class AuditService(audit_pb2_grpc.AuditServicer):
    """Register it on the mTLS port."""

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._sending: set[tuple[str | None, str]] = set()

    def register(self, server: grpc.aio.Server) -> None:
        audit_pb2_grpc.add_AuditServicer_to_server(self, server)

    async def Upload(  # noqa: N802 - gRPC's name
        self, request: audit_pb2.Batch, context: Any
    ) -> audit_pb2.UploadReply:
        peer = peer_info(context).spiffe_id
        try:
            await self.take(request.instance_id, peer, request.records)
        except Forbidden as error:
            log.warning("audit_refused", peer=peer)
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))
            raise
        except InvalidInput as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            raise
        except BartizanError as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, f"keep the batch: {error}")
            raise
        return audit_pb2.UploadReply(stored=len(request.records))

    async def take(self, instance_id: str, spiffe_id: str | None, records: Sequence[bytes]) -> int:
        """Store a batch of this instance, leaving known ids alone; returns how many rows were new.

        None of the batch need be sent again then. Raises Forbidden, InvalidInput, DependencyError.
        """
        if len(records) > MAX_RECORDS:
            raise InvalidInput(f"a batch holds at most {MAX_RECORDS} records")
        with self._alone((spiffe_id, instance_id)):
            taken, new = await self._store_batch(instance_id, spiffe_id, records)
        refused = sum(row.cause == "invalid_record" for row in taken)
        if refused:
            log.error("audit_records_invalid", instance_id=instance_id)
        metrics.AUDIT_STORED.inc(new)
        return new

    @contextlib.contextmanager
    def _alone(self, sender: tuple[str | None, str]) -> Iterator[None]:
        """One batch of a sidecar at a time, as its agent sends them: a flood of one must not take the store from all."""
        if sender in self._sending:
            raise DependencyUnavailable("another one of this sidecar is being stored")
        self._sending.add(sender)
        try:
            yield
        finally:
            self._sending.remove(sender)

    async def _store_batch(
        self, instance_id: str, spiffe_id: str | None, records: Sequence[bytes]
    ) -> tuple[Sequence[AuditRow], int]:
        now = self._clock()
        async with self._store.begin() as work:
            instance = await work.instances.get(instance_id)
            # One that was removed may still hand in what it saw before.
            if instance is None or spiffe_id is None or instance.spiffe_id != spiffe_id:
                raise Forbidden("no such instance of this identity")
            taken = rows(records, instance_id, now)
            return taken, await work.audit.add(taken)
