"""Between what runs and the last-good file: collects what a successor needs, and enforces what a predecessor left."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import time
from collections.abc import Iterator

from google.protobuf.message import DecodeError

from bartizan.errors import BartizanError
from bartizan.telemetry.logging import get_logger
from protos.gen.bartizan.identity.v1 import identity_pb2
from protos.gen.bartizan.policy.v1 import policy_pb2
from protos.gen.envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from sidecar.agent import conditions as names
from sidecar.agent.apply import Applier
from sidecar.agent.conditions import Conditions
from sidecar.agent.envoy_config import EnvoyConfig
from sidecar.agent.keys import KeySets
from sidecar.agent.lastgood import LastGood, Saved, SavedSecret
from sidecar.agent.sds import HeldSecret
from sidecar.agent.versions import SeenVersions

log = get_logger()


class Kept:
    """Messages are kept as they were received, so that a successor verifies them as if they came anew."""

    def __init__(
        self,
        *,
        last_good: LastGood,
        seen: SeenVersions,
        applier: Applier,
        key_sets: KeySets,
        config: EnvoyConfig,
        conditions: Conditions,
    ) -> None:
        self._last_good = last_good
        self._seen = seen
        self._applier = applier
        self._key_sets = key_sets
        self._config = config
        self._conditions = conditions
        self._lock = asyncio.Lock()

    async def save(self) -> None:
        """What is in force now. Its versions rise on disk only after it, and no newer ones that were taken meanwhile:
        whatever was saved last can be taken again.
        """
        async with self._lock:
            saved, versions = self.collect(), self._seen.encoded()
            # keys that come before any bundle are no reason to forget a saved one that could not be enforced yet
            if saved is not None or self._applier.removed:
                await self._last_good.write(saved)
            self._seen.persist(versions)

    def collect(self) -> Saved | None:
        """None without a policy: a restart then has nothing to enforce either."""
        current = self._applier.current
        if current is None:
            return None
        wanted = {source.name for source in current.bundle.secrets}
        return Saved(
            saved_at=time.time(),
            bundle=current.message.SerializeToString(deterministic=True),
            key_sets=dict(self._key_sets.messages),
            secrets={
                name: SavedSecret(
                    generation=held.generation, secret=held.secret.SerializeToString(deterministic=True)
                )
                for name, held in self._config.secrets.items()
                if name in wanted
            },
        )

    async def restore(self) -> None:
        """Enforce what the last process left sealed, until the control plane says something newer."""
        saved = self._last_good.read()
        if saved is None:
            return
        for name, secret in saved.secrets.items():
            with _reported("secret", name):
                message = secret_pb2.Secret.FromString(secret.secret)
                if message.name == name:
                    self._config.put_secret(HeldSecret(secret.generation, message))
        for name, raw in saved.key_sets.items():
            with _reported("key_set", name):
                # the signer's certificate may have ended since; when it was saved it was good, and the seal says so
                self._key_sets.take(
                    [identity_pb2.KeySet.FromString(raw)],
                    dt.datetime.fromtimestamp(saved.saved_at, dt.UTC),
                )
        self._conditions.set(names.SERVING_LAST_GOOD, holds=True)
        restored = False
        with _reported("bundle", ""):
            await self._applier.apply(policy_pb2.SignedBundle.FromString(saved.bundle))
            log.info("last_good_restored", saved_at=saved.saved_at)
            restored = True
        self._conditions.set(names.SERVING_LAST_GOOD, holds=restored)


@contextlib.contextmanager
def _reported(part: str, name: str) -> Iterator[None]:
    """One part that can't be used is not worth the others: missing keys and secrets refuse only who needs them."""
    try:
        yield
    except (BartizanError, DecodeError, ValueError, OverflowError) as error:
        log.error("last_good_refused", part=part, name=name, reason=str(error))
