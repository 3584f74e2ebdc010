"""The link to the control plane: identity, ADS stream, heartbeat and audit over mTLS, for as long as the process runs.

Nothing here is needed to go on serving: while the control plane is away the pod lives from the agent's memory.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import grpc

from bartizan import tasks
from bartizan.errors import BartizanError, DependencyUnavailable
from bartizan.telemetry.logging import get_logger
from bartizan.tls import KeyMaterial, channel_credentials
from bartizan.xds.client import KEEPALIVE, AdsClient
from sidecar.agent import conditions as names
from sidecar.agent.conditions import Conditions
from sidecar.agent.heartbeat import Heartbeat
from sidecar.agent.identity import Identity
from sidecar.agent.subscribe import Subscription

log = get_logger()


class Link:
    """`on_identity` is called with every new identity, before anything is sent under it."""

    def __init__(self, identity: Identity, conditions: Conditions, on_identity: Callable[[], None]) -> None:
        self._identity = identity
        self._conditions = conditions
        self._on_identity = on_identity
        self._channel: grpc.aio.Channel | None = None
        self._ads: AdsClient | None = None
        self._refused = asyncio.Event()
        self._unanswered = asyncio.Event()
        conditions.set(names.CONTROL_PLANE_AWAY, holds=True)

    def channel(self) -> grpc.aio.Channel | None:
        """For heartbeat and audit; None before the first identity."""
        return self._channel

    def refused(self) -> None:
        """The control plane does not know this identity any more."""
        self._refused.set()

    def unanswered(self) -> None:
        """Reports fail although there is a connection: its replica can't take them, another one may."""
        self._unanswered.set()

    async def run(self, subscription: Subscription, heartbeat: Heartbeat, *, kept: bool) -> None:
        """Until cancelled. kept: the identity was restored, so attestation is not needed now."""
        if kept:
            await self._identity.refresh_trust()
        else:
            await self._attest()
        try:
            async with tasks.Group() as group:
                group.create_task(self._channels(), name="link-channels")
                group.create_task(self._identity.keep_fresh(), name="link-identity")
                group.create_task(self._attest_when_refused(), name="link-refused")
                group.create_task(self._find_another(), name="link-unanswered")
                group.create_task(heartbeat.run(), name="heartbeat")
                while True:
                    # the stream names the instance, so a new instance needs a new client
                    instance = self._identity.instance_id
                    self._ads = subscription.client(self._new_channel, instance)
                    stream = group.create_task(self._ads.run(), name="ads")
                    while self._identity.instance_id == instance:
                        await self._identity.source.changed(self._identity.source.current)
                    stream.cancel()
        finally:
            if self._channel is not None:
                await self._channel.close()

    async def _attest(self) -> None:
        failures = 0
        while True:
            try:
                await self._identity.attest()
            except BartizanError as error:
                failures += 1
                later = isinstance(error, DependencyUnavailable)
                log.warning("not_attested", reason=str(error))
                cap = 5.0 if later else 30.0
                await asyncio.sleep(random.uniform(0.5, 1.0) * min(cap, 0.25 * 2**failures))  # noqa: S311
            else:
                return

    async def _attest_when_refused(self) -> None:
        while True:
            await self._refused.wait()
            try:
                await self._identity.attest()
            except BartizanError as error:
                log.error("identity_unknown_to_control_plane", reason=str(error))
            await asyncio.sleep(random.uniform(5.0, 15.0))  # noqa: S311 - jitter
            self._refused.clear()

    async def _channels(self) -> None:
        """With every new certificate: a new channel for calls, a new stream, the old ones end."""
        material: KeyMaterial | None = None
        while True:
            material = await self._identity.source.changed(material)
            self._on_identity()
            old, self._channel = self._channel, self._new_channel()
            if old is not None:
                if self._ads is not None:
                    self._ads.reconnect()
                await old.close(grace=5.0)

    async def _find_another(self) -> None:
        while True:
            await self._unanswered.wait()
            self._unanswered.clear()
            old, self._channel = self._channel, self._new_channel()
            if old is not None:
                await old.close(grace=5.0)

    def _new_channel(self) -> grpc.aio.Channel:
        credentials = channel_credentials(self._identity.source.current)
        return grpc.aio.secure_channel(self._identity.grpc_address, credentials, list(KEEPALIVE))
