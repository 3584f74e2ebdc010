"""What the control plane sends over ADS: bundles, key sets and secrets, each to its place. A refusal becomes a NACK.

All three are subscribed whole: the control plane decides by our certificate what is ours, and keys and secrets then
come together with the bundle that needs them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError

from bartizan.errors import ResourceRejected
from bartizan.policy.names import TYPE_BUNDLE, TYPE_KEY_SET, TYPE_SECRET
from bartizan.telemetry import metrics
from bartizan.telemetry.logging import get_logger
from bartizan.xds.client import AdsClient, BackOff, ConnectionState
from protos.gen.bartizan.identity.v1 import identity_pb2
from protos.gen.bartizan.policy.v1 import policy_pb2
from protos.gen.envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from sidecar.agent import conditions as names
from sidecar.agent.apply import Applier
from sidecar.agent.conditions import Conditions
from sidecar.agent.envoy_config import EnvoyConfig
from sidecar.agent.keys import KeySets
from sidecar.agent.sds import HeldSecret

log = get_logger()


class _Saves(Protocol):
    async def save(self) -> None: ...


class Subscription:
    """The handler of all three types and the connection's state."""

    def __init__(
        self,
        *,
        applier: Applier,
        key_sets: KeySets,
        config: EnvoyConfig,
        conditions: Conditions,
        kept: _Saves,
        on_refused: Callable[[], None],
    ) -> None:
        self._applier = applier
        self._key_sets = key_sets
        self._config = config
        self._conditions = conditions
        self._kept = kept
        self._on_refused = on_refused
        self.connected = False

    def client(self, channels: Callable[[], grpc.aio.Channel], instance_id: str) -> AdsClient:
        """A client that wants everything that is ours."""
        client = AdsClient(channels, instance_id, self.handle, on_state=self.state, backoff=BackOff(cap=5.0))
        for kind in (TYPE_KEY_SET, TYPE_SECRET, TYPE_BUNDLE):
            client.subscribe(kind)
        return client

    def state(self, state: ConnectionState) -> None:
        """The stream opened or ended."""
        if state.connected != self.connected:
            log.info(
                "control_plane_connected" if state.connected else "control_plane_away", reason=state.reason
            )
        self.connected = state.connected
        metrics.CONNECTED.set(1 if state.connected else 0)
        self._conditions.set(names.CONTROL_PLANE_AWAY, holds=not state.connected)
        if state.reason == "permission_denied":
            self._on_refused()

    async def handle(self, kind: str, version: str, items: Mapping[str, AnyMessage]) -> None:
        """Raises ResourceRejected."""
        try:
            match kind:
                case _ if kind == TYPE_BUNDLE:
                    await self._bundles(items)
                case _ if kind == TYPE_KEY_SET:
                    self._key_sets.take(
                        [identity_pb2.KeySet.FromString(item.value) for item in items.values()]
                    )
                    await self._kept.save()
                case _ if kind == TYPE_SECRET:
                    self._secrets(version, items)
                    await self._kept.save()
                case _:
                    raise ResourceRejected("unknown_type")
        except DecodeError as error:
            raise ResourceRejected("undecodable") from error

    async def _bundles(self, items: Mapping[str, AnyMessage]) -> None:
        if len(items) > 1:
            raise ResourceRejected("policy_conflict: more than one policy selects this sidecar")
        if not items:
            await self._applier.remove()
        for item in items.values():
            await self._applier.apply(policy_pb2.SignedBundle.FromString(item.value))
        self._conditions.set(names.SERVING_LAST_GOOD, holds=False)

    def _secrets(self, version: str, items: Mapping[str, AnyMessage]) -> None:
        for name, item in items.items():
            secret = secret_pb2.Secret.FromString(item.value)
            if (
                secret.WhichOneof("type") != "generic_secret"
                or not secret.generic_secret.secret.inline_string
            ):
                raise ResourceRejected("secret_unusable")
            self._config.put_secret(HeldSecret(generation_in(version, name), secret))
            log.info("secret_received", secret_name=name, generation=generation_in(version, name))


def generation_in(version: str, name: str) -> str:
    """The generation of one secret in the control plane's version text "<name>@<generation>,…"."""
    for word in version.split(","):
        secret, _, generation = word.rpartition("@")
        if secret == name:
            return generation
    return version
