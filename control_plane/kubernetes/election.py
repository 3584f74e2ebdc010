"""Which replica reconciles: a Lease of coordination.k8s.io, taken and renewed as all controllers do.

Clocks of other machines are not trusted: a holder counts as alive for its duration after we *saw* its lease change.
https://kubernetes.io/docs/concepts/architecture/leases/
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from bartizan import tasks
from bartizan.errors import BartizanError, Conflict, NotFound
from bartizan.telemetry.logging import get_logger
from bartizan.telemetry.metrics import RECONCILE_LEADER
from control_plane.kubernetes.api_server import ApiServer

NAME = "bartizan-reconciler"
DURATION = 15
RENEW = 5.0
GIVE_UP = 10.0
"""Without a renewal for so long (seconds) we stop: before anybody else may begin."""
log = get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A lease's spec as it was when it last changed, and when we saw that (monotonic)."""

    spec: Mapping[str, Any]
    at: float


def decide(
    lease: Mapping[str, Any], seen: Seen | None, me: str, now: float
) -> Literal["ours", "free", "held"]:
    """Whose turn is it? lease: the object's spec. seen: what was seen of it before this time. Pure."""
    holder = lease.get("holderIdentity") or ""
    if holder == me:
        return "ours"
    if not holder:
        return "free"
    duration = lease.get("leaseDurationSeconds")
    life = duration if isinstance(duration, int) and duration > 0 else DURATION
    unchanged = seen is not None and seen.spec == lease
    return "free" if unchanged and seen is not None and now - seen.at >= life else "held"


class Election:
    """`lead(work)` until cancelled: runs `work` while this replica holds the lease."""

    def __init__(self, server: ApiServer, *, namespace: str, me: str) -> None:
        self._server = server
        self._leases = f"/apis/coordination.k8s.io/v1/namespaces/{quote(namespace, safe='')}/leases"
        self._namespace = namespace
        self._me = me
        self._seen: Seen | None = None
        self._until = 0.0

    def leads(self) -> bool:
        """By our own clock, which goes on while we are stopped: before anybody else may have begun."""
        return time.monotonic() < self._until

    async def lead(self, work: Callable[[], Awaitable[None]]) -> None:
        said = ""
        while True:
            asked = time.monotonic()
            try:
                leading = await self._claim()
                said = ""
            except BartizanError as error:
                if str(error) != said:
                    log.warning("lease_unreachable", reason=str(error))
                said, leading = str(error), False
            # Counted from before we asked: others count from the moment at which it was written.
            self._until = asked + GIVE_UP if leading else 0.0
            if self.leads():
                log.info("reconciler_leads", lease=f"{self._namespace}/{NAME}")
                await self._lead(work)
                log.info("reconciler_no_longer_leads", lease=f"{self._namespace}/{NAME}")
            await asyncio.sleep(RENEW)

    async def _lead(self, work: Callable[[], Awaitable[None]]) -> None:
        RECONCILE_LEADER.set(1)
        try:
            async with tasks.Group() as group:
                running = tasks.start(group, _awaited(work), name="reconciler")
                await self._keep()
                await tasks.cancel(running)
        except asyncio.CancelledError:
            await self._release()
            raise
        finally:
            RECONCILE_LEADER.set(0)

    async def _keep(self) -> None:
        """Returns when the lease is lost, or may be."""
        while self.leads():
            await asyncio.sleep(RENEW)
            before = time.monotonic()
            try:
                async with tasks.timeout(self._until - before):
                    if not await self._claim():
                        return
                self._until = before + GIVE_UP
            except (BartizanError, TimeoutError) as error:
                log.warning("lease_not_renewed", reason=str(error) or type(error).__name__)

    async def _claim(self) -> bool:
        """Take or renew the lease; False when somebody else has it."""
        try:
            lease = await self._server.get(f"{self._leases}/{NAME}")
        except NotFound:
            metadata = {"name": NAME, "namespace": self._namespace}
            lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata}
            try:
                await self._server.post(self._leases, {**lease, "spec": self._spec({}, fresh=True)})
            except Conflict:
                return False
            return True
        spec, now = lease.get("spec") or {}, time.monotonic()
        turn = decide(spec, self._seen, self._me, now)
        if self._seen is None or self._seen.spec != spec:
            self._seen = Seen(spec=spec, at=now)
        if turn == "held":
            return False
        try:
            # The resource version in it makes this a compare-and-set.
            await self._server.put(
                f"{self._leases}/{NAME}", {**lease, "spec": self._spec(spec, fresh=turn == "free")}
            )
        except Conflict:
            return False
        return True

    async def _release(self) -> None:
        """At our end the next one need not wait. Best effort: the lease runs out by itself."""
        try:
            async with tasks.timeout(2):
                lease = await self._server.get(f"{self._leases}/{NAME}")
                if (lease.get("spec") or {}).get("holderIdentity") == self._me:
                    await self._server.put(
                        f"{self._leases}/{NAME}", {**lease, "spec": {**lease["spec"], "holderIdentity": ""}}
                    )
        except (BartizanError, TimeoutError) as error:
            log.info("lease_not_released", reason=str(error) or type(error).__name__)

    def _spec(self, spec: Mapping[str, Any], *, fresh: bool) -> dict[str, Any]:
        now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        made = {**spec, "holderIdentity": self._me, "leaseDurationSeconds": DURATION, "renewTime": now}
        if fresh:
            made |= {"acquireTime": now, "leaseTransitions": int(spec.get("leaseTransitions") or 0) + 1}
        return made


async def _awaited(work: Callable[[], Awaitable[None]]) -> None:
    await work()
