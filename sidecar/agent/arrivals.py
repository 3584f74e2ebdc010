"""What a bundle needs beside itself: key sets, secrets and issuers' keys come on ways of their own, in any order."""

from __future__ import annotations

from bartizan.errors import ResourceRejected
from bartizan.policy.bundle import Bundle
from bartizan.telemetry.logging import get_logger
from sidecar.agent.changes import Changes
from sidecar.agent.envoy_config import EnvoyConfig
from sidecar.agent.jwks import JwksKeeper
from sidecar.agent.keys import KeySets

KEY_SET_WITHIN = 1.0
SECRET_WITHIN = 10.0
JWKS_WITHIN = 3.0

log = get_logger()


class Arrivals:
    """Waits for each of them for a while."""

    def __init__(self, *, jwks: JwksKeeper, key_sets: KeySets, envoy: EnvoyConfig, changes: Changes) -> None:
        self._jwks = jwks
        self._key_sets = key_sets
        self._envoy = envoy
        self._changes = changes

    async def of(self, bundle: Bundle) -> None:
        """Missing keys deny all who use them, so they may come later. Raises ResourceRejected when a secret is not there."""
        self._jwks.want(bundle.plan.jwt)
        await self._changes.until(lambda: self._jwks.holds(bundle.plan.jwt), JWKS_WITHIN)
        key_set = bundle.plan.api_key_set
        if key_set and not await self._changes.until(lambda: key_set in self._key_sets, KEY_SET_WITHIN):
            log.warning("key_set_missing", key_set=key_set)
        wanted = {source.name for source in bundle.secrets}
        if not await self._changes.until(lambda: wanted <= set(self._envoy.secrets), SECRET_WITHIN):
            raise ResourceRejected("secret_missing", "spec.model.credential.secret")
