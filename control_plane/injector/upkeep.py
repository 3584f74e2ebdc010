"""Keeps in the cluster what makes injection work: `caBundle` of the webhooks, the trust document in each namespace.

One look every 30 s; a change that somebody else made is mended then. Failures are logged and tried again.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import quote

from bartizan.errors import BartizanError, Conflict, DependencyRefused, NotFound
from bartizan.telemetry.logging import get_logger
from bartizan.telemetry.metrics import UPKEEP_FAILURES
from control_plane.injector import names
from control_plane.injector.admission_policy import LABELS
from control_plane.injector.bundle_upkeep import with_bundle
from control_plane.injector.config import Config
from control_plane.injector.webhook_configuration import MUTATING, VALIDATING
from control_plane.kubernetes.api_server import ApiServer

EVERY: Final = 30.0
TRUST_KEY: Final = "trust.json"
_TRIES: Final = 10
"""Each replica that starts in the same moment wins once; more of them than this are made up for at the next look."""
_ADMISSION: Final = "/apis/admissionregistration.k8s.io/v1"
CONFIGURATIONS: Final = (
    f"{_ADMISSION}/mutatingwebhookconfigurations/{MUTATING}",
    f"{_ADMISSION}/validatingwebhookconfigurations/{VALIDATING}",
)

log = get_logger()


class Upkeep:
    """roots: PEM of the CAs under which the webhook serves; trust: the trust document. None: not ours to keep."""

    def __init__(
        self,
        server: ApiServer,
        config: Config,
        roots: Callable[[], bytes] | None,
        trust: Callable[[], Awaitable[bytes]] | None,
    ) -> None:
        self._server = server
        self._config = config
        self._roots = roots
        self._trust = trust
        self._said = ""
        self._unwritten: dict[str, str] = {}
        self.published = roots is None
        """Whether the API server was told of the roots under which we serve."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.look()
                self._said = ""
            except BartizanError as error:
                UPKEEP_FAILURES.inc()
                if str(error) != self._said:
                    log.warning("upkeep_failed", reason=str(error))
                self._said = str(error)
            await asyncio.sleep(EVERY if not self._said else EVERY / 10)

    async def look(self) -> None:
        """Put right what is not. Raises DependencyError."""
        if self._roots is not None:
            await self.publish(self._roots())
        if self._trust is not None:
            await self._put_trust_everywhere((await self._trust()).decode())

    async def publish(self, roots: bytes) -> None:
        """Let the API server trust these roots, too: at its return they stand in every configuration that is installed.

        Raises DependencyError, and Conflict when others kept writing in the same moments.
        """
        for path in CONFIGURATIONS:
            await self._put_roots(path, roots)
        self.published = True

    async def _put_roots(self, path: str, roots: bytes) -> None:
        for tries_left in reversed(range(_TRIES)):
            try:
                configuration = await self._server.get(path)
                changed = with_bundle(configuration, roots, dt.datetime.now(dt.UTC))
                if changed is not None:
                    await self._server.put(path, changed)
                    log.info("webhook_roots_written", configuration=path.rpartition("/")[2])
            except NotFound:
                log.debug("webhook_configuration_missing", path=path)
            except Conflict:
                # another replica was faster: what it wrote is kept, and ours added to it
                if not tries_left:
                    raise
                continue
            return

    async def _namespaces(self) -> list[str]:
        found: set[str] = set()
        injected = [f"{names.INJECTION}={value}" for value in names.INJECTION_VALUES]
        for selector in (*injected, f"{names.ENFORCE}=true"):
            listed = await self._server.get("/api/v1/namespaces", labelSelector=selector)
            found |= {
                each["metadata"]["name"]
                for each in listed.get("items") or []
                if "deletionTimestamp" not in each["metadata"]
            }
        return sorted(found - set(self._config.exempt_namespaces))

    async def _put_trust_everywhere(self, document: str) -> None:
        """A quota, an immutable object or somebody's webhook in one namespace must not keep the others waiting."""
        unwritten: dict[str, str] = {}
        again: BartizanError | None = None
        for namespace in await self._namespaces():
            try:
                await self._put_trust(namespace, document)
            except BartizanError as error:
                unwritten[namespace] = str(error)
                if self._unwritten.get(namespace) != str(error):
                    log.warning("trust_not_written", namespace=namespace, reason=str(error))
                if isinstance(error, DependencyRefused):
                    UPKEEP_FAILURES.inc()  # it would be refused again in a moment
                else:
                    again = error
        self._unwritten = unwritten
        if again is not None:
            raise again

    async def _put_trust(self, namespace: str, document: str) -> None:
        folder = f"/api/v1/namespaces/{quote(namespace, safe='')}/configmaps"
        name = names.TRUST_CONFIG_MAP
        data = {TRUST_KEY: document}
        try:
            existing = await self._server.get(f"{folder}/{name}")
            if (existing.get("data") or {}) != data:
                await self._server.merge(f"{folder}/{name}", {"data": {**_absent(existing), **data}})
                log.info("trust_written", namespace=namespace)
        except NotFound:
            metadata = {"name": name, "namespace": namespace, "labels": dict(LABELS)}
            try:
                await self._server.post(
                    folder, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
                )
                log.info("trust_written", namespace=namespace)
            except (Conflict, NotFound):
                log.debug("namespace_changed_meanwhile", namespace=namespace)


def _absent(existing: dict[str, Any]) -> dict[str, None]:
    """For a merge patch: keys that must go."""
    return dict.fromkeys(existing.get("data") or {})
