"""One of several control planes over one store: what the others write is taken over here, at once and every two seconds.

Each change is announced with its commit (store/sql/announce.py); what is announced is read and handed to whoever keeps
it in memory. Every look is also this replica's sign of life. A replica that could not look for a while, because the
store is away or because it was stopped itself, knows that it may be behind: it serves nobody until it has caught up.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from bartizan import tasks
from bartizan.errors import BartizanError
from bartizan.telemetry.logging import get_logger
from bartizan.telemetry.metrics import REPLICAS
from control_plane.fleet.ledger import Ledger
from control_plane.fleet.service import FleetService
from control_plane.push.publish import Publisher
from control_plane.store.base import Change, Store
from control_plane.store.clock import boot_time
from control_plane.store.rows import ChangeKind

EVERY = 2.0
LIFE = 10.0
"""So long after its last look others take a replica for alive."""
BEHIND = 8.0
"""So long after its last look it takes itself for up to date: less, so that it stops before others go on without it."""
_OVERLAP = 10.0
"""Reports are read again for so long: a transaction may end some time after it took its time."""
_ONE_BY_ONE = 20
_GATHER_SECONDS = 0.005
_AGAIN_SECONDS = 0.5
_LEAVE_SECONDS = 2.0
log = get_logger()


class Following:
    """Whether this replica knows what the others know; one that is alone always does."""

    def __init__(self, *, alone: bool) -> None:
        self._alone = alone
        self._looked = 0.0

    def __call__(self) -> bool:
        return self._alone or self.since(BEHIND)

    def since(self, seconds: float) -> bool:
        """Whether the last look began within these seconds."""
        return boot_time() - self._looked < seconds

    def looked(self, at: float) -> None:
        """At that time, by boot_time, everything was taken over."""
        self._looked = at


class Replicas:
    """Call `look` once, then keep `run` running; over a store for one they do nothing.

    catch_up: take over which generations of secrets are used.
    """

    def __init__(
        self,
        store: Store,
        *,
        name: str,
        following: Following,
        ledger: Ledger,
        fleet: FleetService,
        publisher: Publisher,
        catch_up: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self._name = name
        self._following = following
        self._ledger = ledger
        self._fleet = fleet
        self._publisher = publisher
        self._catch_up = catch_up
        self._told: dict[ChangeKind, set[str]] = {}
        self._wake = asyncio.Event()
        self._looking = asyncio.Lock()
        self._next = 0.0
        self._mark = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        if not self._store.shared:
            return
        try:
            async with tasks.Group() as group:
                tasks.start(group, self._store.listen(self._hear), name="replicas-listen")
                tasks.start(group, self._follow(), name="replicas-follow")
        finally:
            # If it can't be told, our sign of life ends by itself.
            with contextlib.suppress(BartizanError, TimeoutError):
                async with tasks.timeout(_LEAVE_SECONDS), self._store.begin() as work:
                    await work.replicas.leave(self._name)

    async def look(self, *, within: float = 0.0) -> None:
        """Take over everything that others wrote, and show that we live. Raises DependencyError.

        within: so many seconds ago is new enough.
        """
        if not self._store.shared:
            REPLICAS.set(1)
            return
        async with self._looking:
            if not self._following.since(within):
                await self._look()

    async def _look(self) -> None:
        self._told.clear()
        began = boot_time()
        async with self._store.begin() as work:
            now = await work.now()
            await work.replicas.beat(self._name, now=now, life=LIFE, knows_at=self._mark)
            alive = await work.replicas.alive(now=now)
            reports = await work.instances.reports(since=self._mark - _OVERLAP)
        await self._publisher.resync()
        self._fleet.take(reports)
        await self._catch_up()
        self._ledger.replicas(alive)
        REPLICAS.set(len(alive))
        self._mark = now
        self._following.looked(began)
        self._next = began + EVERY

    def _hear(self, change: Change) -> None:
        self._told.setdefault(change.kind, set()).update(change.names)
        self._wake.set()

    async def _follow(self) -> None:
        said = ""
        while True:
            with contextlib.suppress(TimeoutError):
                async with tasks.timeout(max(0.0, self._next - boot_time())):
                    await self._wake.wait()
            self._wake.clear()
            try:
                async with tasks.timeout(BEHIND):
                    if boot_time() >= self._next or "everything" in self._told:
                        await self.look()
                    else:
                        await self._take()
                said = ""
            except (BartizanError, TimeoutError) as error:
                reason = str(error) or type(error).__name__
                if reason != said:
                    log.warning("replicas_not_followed", reason=reason)
                said = reason
                self._next = 0.0
                await asyncio.sleep(_AGAIN_SECONDS)
            if not self._following():
                self._ledger.replicas(frozenset())
                REPLICAS.set(0)
                self._publisher.send_away()
            # A fleet that stirs at another replica is a few looks, not a thousand.
            await asyncio.sleep(_GATHER_SECONDS)

    async def _take(self) -> None:
        told, self._told = self._told, {}
        for name in told.get("policy", ()):
            await self._publisher.policy_changed(name)
        for name in told.get("key_set", ()):
            await self._publisher.key_set_changed(name)
        if len(instances := told.get("instance", ())) > _ONE_BY_ONE:
            await self._publisher.resync()
        else:
            for name in instances:
                await self._publisher.instance_changed(name)
        if reports := told.get("report"):
            async with self._store.begin() as work:
                rows = await work.instances.reports(of=reports)
            self._fleet.take(rows)
        if "rotation" in told:
            await self._catch_up()
