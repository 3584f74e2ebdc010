"""Between what runs and the last-good file: collects what a successor needs, and enforces what a predecessor left."""

from __future__ import annotations

import datetime as dt
import time

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

log = get_logger()


class Kept:
    """Messages are kept as they were received, so that a successor verifies them as if they came anew."""

    def __init__(
        self,
        *,
        last_good: LastGood,
        applier: Applier,
        key_sets: KeySets,
        config: EnvoyConfig,
        conditions: Conditions,
    ) -> None:
        self._last_good = last_good
        self._applier = applier
        self._key_sets = key_sets
        self._config = config
        self._conditions = conditions

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
        try:
            for name, secret in saved.secrets.items():
                message = secret_pb2.Secret.FromString(secret.secret)
                if message.name == name:
                    self._config.put_secret(HeldSecret(secret.generation, message))
            # the signer's certificate may have ended since; when it was saved it was good, and the seal says so
            self._key_sets.take(
                [identity_pb2.KeySet.FromString(raw) for raw in saved.key_sets.values()],
                dt.datetime.fromtimestamp(saved.saved_at, dt.UTC),
            )
            self._conditions.set(names.SERVING_LAST_GOOD, holds=True)
            await self._applier.apply(policy_pb2.SignedBundle.FromString(saved.bundle))
            log.info("last_good_restored", saved_at=saved.saved_at)
        except (BartizanError, DecodeError, ValueError) as error:
            self._conditions.set(names.SERVING_LAST_GOOD, holds=False)
            log.error("last_good_refused", reason=str(error))
