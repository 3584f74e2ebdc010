"""Looks once a second at everything that readiness depends on, and keeps the conditions true; probes every 10 seconds."""

from __future__ import annotations

import asyncio
import contextlib
import time

import msgspec

from bartizan import tasks
from bartizan.errors import DependencyUnavailable
from bartizan.telemetry import metrics
from sidecar.agent import conditions as names
from sidecar.agent.admin import EnvoyAdmin
from sidecar.agent.apply import Applier
from sidecar.agent.changes import Changes
from sidecar.agent.conditions import Conditions
from sidecar.agent.envoy import EnvoyProcess
from sidecar.agent.envoy_config import EnvoyConfig
from sidecar.agent.keys import KeySets
from sidecar.agent.workers import WorkerPool

LOOK_EVERY = 1.0
SETTLE = 0.1
PROBE_EVERY = 10.0
PROBE_AGAIN_AFTER = 1.0


class Monitor:
    """`secrets` and `envoy_version` are what Envoy's admin interface said last."""

    def __init__(
        self,
        *,
        applier: Applier,
        workers: WorkerPool,
        envoy: EnvoyProcess,
        admin: EnvoyAdmin,
        config: EnvoyConfig,
        key_sets: KeySets,
        conditions: Conditions,
        changes: Changes,
    ) -> None:
        self._applier = applier
        self._workers = workers
        self._envoy = envoy
        self._admin = admin
        self._config = config
        self._key_sets = key_sets
        self._conditions = conditions
        self._changes = changes
        self.secrets: dict[str, str] = {}
        self.envoy_version = ""

    async def watch(self) -> None:
        """Until cancelled: look every second, and soon after any change, but at most ten times a second."""
        while True:
            seen = self._changes.generation
            await self._look_at_envoy()
            self.look()
            await asyncio.sleep(SETTLE)
            await self._next_change(seen)

    async def _next_change(self, seen: int) -> None:
        with contextlib.suppress(TimeoutError):
            async with tasks.timeout(LOOK_EVERY - SETTLE):
                await self._changes.after(seen)

    async def probe(self) -> None:
        """Until cancelled: read certificate files every second; probe every ten, after a child's restart, and sooner
        while the probe fails.
        """
        next_probe = 0.0
        children: object = None
        while True:
            await self._applier.renew_files()
            now = (tuple(self._workers.pids()), self._envoy.pid, self._conditions.ready)
            if time.monotonic() >= next_probe or children != now:
                children = now
                result = await self._applier.probe_now()
                good = result is None or result.good
                next_probe = time.monotonic() + (PROBE_EVERY if good else PROBE_AGAIN_AFTER)
            await asyncio.sleep(LOOK_EVERY)

    async def _look_at_envoy(self) -> None:
        if not await self._envoy.watch():
            return
        try:
            # what Envoy was given none of, it need not be asked for
            secrets = await self._admin.active_secrets() if self._config.secrets else {}
            if not self.envoy_version:
                self.envoy_version = await self._admin.version()
        except (DependencyUnavailable, msgspec.MsgspecError):
            return
        if secrets != self.secrets:
            self.secrets = secrets
            self._changes.notify()

    def look(self) -> None:
        """Bring the conditions up to date from memory alone; health and heartbeat call it before they answer."""
        current = self._applier.current
        self._conditions.set(names.ENVOY_NOT_READY, holds=not self._envoy.ready)
        self._conditions.set(names.JWKS_MISSING, holds=self._applier.jwks_missing)
        self._conditions.set(names.JWKS_STALE, holds=self._applier.jwks_stale)
        if current is None:
            for name in (
                names.WORKERS_NOT_LOADED,
                names.SECRET_MISSING,
                names.KEY_SET_MISSING,
                names.CERTIFICATE_REFUSED,
            ):
                self._conditions.set(name, holds=False)
            return
        bundle = current.bundle
        wanted = {source.name for source in bundle.secrets}
        if bundle.tls is not None:
            wanted.add(bundle.tls.name)
        loaded = self._workers.loaded(bundle.plan.id)
        key_set = bundle.plan.api_key_set
        self._conditions.set(names.WORKERS_NOT_LOADED, holds=loaded < self._workers.count)
        self._conditions.set(names.SECRET_MISSING, holds=not wanted <= set(self.secrets))
        self._conditions.set(names.KEY_SET_MISSING, holds=bool(key_set) and key_set not in self._key_sets)
        metrics.POLICY_AGE.set(time.monotonic() - self._applier.confirmed_at)
