"""A bundle's way through the sidecar, one straight line: verify, files, keys and secrets, workers, Envoy, probe.

Whatever fails puts back what was enforced before and becomes a NACK. Only the probe's proof makes a bundle enforced.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from bartizan.errors import ResourceRejected
from bartizan.policy.bundle import Bundle
from bartizan.telemetry import metrics
from bartizan.telemetry.logging import get_logger
from protos.gen.bartizan.policy.v1 import policy_pb2
from sidecar.agent import conditions as names
from sidecar.agent.arrivals import Arrivals
from sidecar.agent.changes import Changes
from sidecar.agent.conditions import Conditions
from sidecar.agent.enforced import Enforced, Refused
from sidecar.agent.envoy_config import EnvoyConfig
from sidecar.agent.files import CertificatePair, read_pair
from sidecar.agent.jwks import JwksKeeper
from sidecar.agent.keys import KeySets
from sidecar.agent.probe import Prober, ProbeResult
from sidecar.agent.pseudonym_keys import PseudonymKeys
from sidecar.agent.sds import certificate_secret
from sidecar.agent.verify import Verifier
from sidecar.agent.versions import SeenVersions
from sidecar.agent.workers import WorkerPool
from sidecar.allocator import give_back

ENVOY_WITHIN = 10.0
PROBE_WITHIN = 10.0

log = get_logger()


class Applier:
    """Owns what is enforced. `apply` and `remove` run one at a time."""

    def __init__(
        self,
        *,
        verifier: Verifier,
        seen: SeenVersions,
        workers: WorkerPool,
        envoy: EnvoyConfig,
        key_sets: KeySets,
        prober: Prober,
        cert_dir: Path,
        conditions: Conditions,
        changes: Changes,
        group: asyncio.TaskGroup,
        drain_seconds: float,
        jwks: JwksKeeper,
        on_enforced: Callable[[], Awaitable[None]],
    ) -> None:
        self._verifier = verifier
        self._seen = seen
        self._workers = workers
        self._envoy = envoy
        self._prober = prober
        self._cert_dir = cert_dir
        self._conditions = conditions
        self._changes = changes
        self._group = group
        self._drain_seconds = drain_seconds
        self._jwks = jwks
        self._arrivals = Arrivals(jwks=jwks, key_sets=key_sets, envoy=envoy, changes=changes)
        self._pseudonym_keys = PseudonymKeys(cert_dir, workers)
        self._on_enforced = on_enforced
        self._lock = asyncio.Lock()
        self.current: Enforced | None = None
        self.refused: Refused | None = None
        self.probed: ProbeResult | None = None
        self.removed = False
        """The source said that no policy is ours."""
        self.switching = False
        """Between two bundles: what is in force is either, until the new one is proven or the old one served again."""
        self._closing: Bundle | None = None
        self.confirmed_at = 0.0
        """When the source last said that this is the bundle to enforce (monotonic seconds)."""
        conditions.set(names.NO_POLICY, holds=True)

    async def apply(self, message: policy_pb2.SignedBundle) -> None:
        """Enforce it, proven. Raises ResourceRejected; then the old bundle is in force as before."""
        async with self._lock:
            if self.current is not None and self.current.message == message:
                self.confirm()
                self._changes.notify()
                return
            version = 0
            try:
                bundle = self._verifier.bundle(message)
                version = bundle.version
                if self._same(bundle, message):
                    await self._on_enforced()
                else:
                    self.switching = True
                    await self._switch(bundle, message)
                self.confirm()
            except ResourceRejected as error:
                metrics.BUNDLES_REFUSED.labels(error.reason.partition(":")[0]).inc()
                log.warning(
                    "bundle_refused",
                    policy=message.name,
                    version=version,
                    reason=error.reason,
                    path=error.path,
                )
                self._jwks.keep_only(self.current.bundle.plan.jwt if self.current else ())
                self.refused = Refused(version=version, reason=error.reason, path=error.path)
                raise
            finally:
                self.switching = False
                self._changes.notify()
            await asyncio.to_thread(give_back)  # the old bundle, and what reading the new one took

    def _same(self, bundle: Bundle, message: policy_pb2.SignedBundle) -> bool:
        """The bundle in force, maybe signed anew: then there is nothing to switch. Raises ResourceRejected when one
        version is said to be two things.
        """
        current = self.current
        named = (bundle.policy, bundle.version)
        if current is None or (current.bundle.policy, current.bundle.version) != named:
            return False
        if current.message.payload != message.payload:
            raise ResourceRejected("same_version_other_payload")
        self.current = replace(current, message=message)
        return True

    async def _switch(self, bundle: Bundle, message: policy_pb2.SignedBundle) -> None:
        old = self.current
        resources = self._envoy.read(bundle.envoy)
        pair = read_pair(self._cert_dir, bundle.tls) if bundle.tls else None
        self._pseudonym_keys.want(bundle.plan)
        await self._arrivals.of(bundle)
        plan_hash = await self._workers.load(bundle.plan)
        served = dict(self._envoy.secrets)
        if pair is not None:
            self._envoy.put_secret(certificate_secret(pair))
        try:
            snapshot = self._envoy.publish(resources)
            await self._envoy.applied(snapshot, ENVOY_WITHIN)
            probed = await self._prove(bundle, plan_hash, pair)
        except Exception:
            if pair is not None:
                self._envoy.put_back_secret(pair.name, served.get(pair.name))
            restored = self._envoy.publish(old.resources if old else None)
            await self._quietly(self._envoy.applied(restored, ENVOY_WITHIN))
            if old is not None and old.bundle.plan.id == bundle.plan.id:
                # two policies' plans may bear one id: then the old one was replaced and must come back
                await self._quietly(self._workers.load(old.bundle.plan))
            else:
                self._workers.drop(bundle.plan.id)
            if old is not None:  # nothing is called refused before the old one is served again
                await self._quietly(self._prove(old.bundle, old.plan_hash, old.pair))
            raise
        self.current = Enforced(
            bundle=bundle,
            message=message,
            plan_hash=plan_hash,
            resources=resources,
            snapshot=snapshot,
            pair=pair,
        )
        self.refused, self.probed = None, probed
        self.removed, self._closing = False, None
        self._seen.took_bundle(bundle.policy, bundle.version)
        if old is None and (bundle.tls or bundle.secrets):
            # until Envoy's admin interface has shown them; later switches keep what was seen
            self._conditions.set(names.SECRET_MISSING, holds=True)
        self._conditions.set(names.NO_POLICY, holds=False)
        self._conditions.set(names.PROBE_FAILED, holds=False)
        metrics.POLICY_VERSION.set(bundle.version)
        log.info("bundle_enforced", policy=bundle.policy, version=bundle.version, revision=bundle.revision)
        self._jwks.keep_only(bundle.plan.jwt)
        if old is not None and old.bundle.plan.id != bundle.plan.id:
            self._group.create_task(self._drop_later(old), name="drop-old-plan")
        # Kept before it is acknowledged: a version that was told must outlive this process.
        await self._on_enforced()

    async def _prove(self, bundle: Bundle, plan_hash: str, pair: CertificatePair | None) -> ProbeResult:
        """Envoy ACKs before a listener has warmed up, so a few attempts may find the old one or none."""
        end = time.monotonic() + PROBE_WITHIN
        pause = 0.01
        while True:
            result = await self._prober.probe(bundle, plan_hash, pair.leaf_sha256 if pair else None)
            metrics.PROBES.labels("good" if result.good else "bad").inc()
            if result.good:
                return result
            if time.monotonic() > end:
                raise ResourceRejected(f"probe_failed: {result.reason}")
            await asyncio.sleep(pause)
            pause = min(0.25, pause * 2)

    async def remove(self) -> None:
        """The policy was taken away: no listener, so everything is refused. Raises ResourceRejected when Envoy does not
        confirm it, or the port is still open.
        """
        async with self._lock:
            old, self.current = self.current, None
            self.removed = True
            self._closing = old.bundle if old else self._closing
            self.refused = self.probed = None
            self._conditions.set(names.NO_POLICY, holds=True)
            self._conditions.set(names.PROBE_FAILED, holds=False)
            snapshot = self._envoy.publish(None)
            self._jwks.keep_only(())
            metrics.POLICY_VERSION.set(0)
            if old is not None:
                log.info("bundle_removed", policy=old.bundle.policy, version=old.bundle.version)
                self._group.create_task(self._drop_later(old), name="drop-old-plan")
            await self._on_enforced()
            self._changes.notify()
            if self._closing is not None:
                await self._envoy.applied(snapshot, ENVOY_WITHIN)
                await self._prober.closed(self._closing, PROBE_WITHIN)
                self._closing = None

    async def probe_now(self) -> ProbeResult | None:
        """Look again; None without a policy. Does not run while a switch is under way."""
        async with self._lock:
            current = self.current
            if current is None:
                return None
            leaf = current.pair.leaf_sha256 if current.pair else None
            result = await self._prober.probe(current.bundle, current.plan_hash, leaf)
            metrics.PROBES.labels("good" if result.good else "bad").inc()
            before, self.probed = self.probed, result
            changed = before is None or (before.good, before.reason) != (result.good, result.reason)
            self._conditions.set(names.PROBE_FAILED, holds=not result.good)
            if changed:
                self._changes.notify()
            return result

    @property
    def jwks_missing(self) -> bool:
        """Some issuer's keys are not there: its tokens are refused."""
        return not self._jwks.holds(self.current.bundle.plan.jwt if self.current else ())

    @property
    def jwks_stale(self) -> bool:
        """Some issuer's keys became too old to be believed: its tokens are refused."""
        return self._jwks.stale

    def confirm(self) -> None:
        """The control plane is there and has nothing newer."""
        self.confirmed_at = time.monotonic()

    async def renew_files(self) -> None:
        """Read keys of pseudonyms and the listener's files again; a good new pair goes to Envoy, a bad one is reported."""
        async with self._lock:
            self._pseudonym_keys.renew()
            current = self.current
            if current is None or current.bundle.tls is None or current.pair is None:
                return
            try:
                pair = read_pair(self._cert_dir, current.bundle.tls)
            except ResourceRejected as error:
                if names.CERTIFICATE_REFUSED not in self._conditions:
                    log.warning("certificate_refused", reason=error.reason, path=error.path)
                self._conditions.set(names.CERTIFICATE_REFUSED, holds=True)
                return
            self._conditions.set(names.CERTIFICATE_REFUSED, holds=False)
            if (pair.chain, pair.key) == (current.pair.chain, current.pair.key):
                return
            self._envoy.put_secret(certificate_secret(pair))
            self.current = replace(current, pair=pair)
            log.info("certificate_renewed", generation=pair.generation)
            self._changes.notify()

    async def _drop_later(self, old: Enforced) -> None:
        await asyncio.sleep(self._drain_seconds)
        async with self._lock:
            if self.current is None or self.current.bundle.plan.id != old.bundle.plan.id:
                self._workers.drop(old.bundle.plan.id)

    @staticmethod
    async def _quietly(waiting: Awaitable[object]) -> None:
        try:
            await waiting
        except ResourceRejected as error:
            log.error("old_configuration_not_confirmed", reason=error.reason)
