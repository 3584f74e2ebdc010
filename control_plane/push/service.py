"""gRPC shell of the push side on the mTLS port: ADS sessions of sidecars, tied to their certificates.

Who a sidecar is comes from its certificate; the node id only chooses among the instances of that identity.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import grpc.aio

from bartizan.errors import Crowded, Forbidden
from bartizan.policy.names import TYPE_BUNDLE, TYPE_KEY_SET, TYPE_SECRET
from bartizan.telemetry.logging import get_logger
from bartizan.telemetry.metrics import ACKS, CALLS_REFUSED
from bartizan.xds.server import AdsServer, PeerInfo, Session
from bartizan.xds.snapshot import Publication
from bartizan.xds.subscription import WILDCARD
from control_plane.fleet.ledger import Ledger
from control_plane.push.publish import Publisher
from control_plane.push.subscriber import Subscriber
from control_plane.store.base import AdminEvent

logger = get_logger()

MOST_STREAMS = 16
"""Of one sidecar, which needs one: those of connections that broke unseen are found dead within 15 s."""
_SHOWN_NAMES = 16
_SHOWN_TEXT = 160
_TYPES = {TYPE_BUNDLE: "bundle", TYPE_KEY_SET: "key_set", TYPE_SECRET: "secret"}


OnRefusal = Callable[[AdminEvent], None]


class _Stream:
    """One ADS stream of one sidecar."""

    def __init__(
        self, publisher: Publisher, subscriber: Subscriber, ledger: Ledger, refused: OnRefusal, address: str
    ) -> None:
        self._publisher = publisher
        self._subscriber = subscriber
        self._ledger = ledger
        self._refused = refused
        self._address = address

    @property
    def publication(self) -> Publication:
        return self._subscriber.publication

    def on_subscribe(self, type_url: str, names: frozenset[str]) -> frozenset[str]:
        """What is foreign is refused here for the record; the sidecar's snapshot never holds it in the first place."""
        foreign = names - {WILDCARD} - _own(self._subscriber, type_url)
        if foreign:
            instance, kind = self._subscriber.instance, _TYPES.get(type_url, "other")
            logger.warning("foreign_names_refused", instance_id=instance.instance_id, type=kind)
            self._refused(
                _refusal(instance.spiffe_id, instance.instance_id, self._address, kind, sorted(foreign))
            )
        # All stay wanted: a name may become this sidecar's own with the next policy.
        return names

    def on_ack(self, type_url: str, version: str, nonce: str) -> None:  # noqa: ARG002
        ACKS.labels(type=_TYPES.get(type_url, "other"), result="ack").inc()
        if type_url == TYPE_BUNDLE:
            policy, number = _parse(version)
            self._ledger.acked(self._subscriber.instance.instance_id, policy, number)

    def on_nack(self, type_url: str, version: str, reason: str) -> None:
        ACKS.labels(type=_TYPES.get(type_url, "other"), result="nack").inc()
        if type_url == TYPE_BUNDLE:
            policy, number = _parse(version)
            self._ledger.nacked(self._subscriber.instance.instance_id, policy, number, reason)

    def closed(self) -> None:
        self._publisher.unsubscribe(self._subscriber)


class PushService:
    """Serves ADS to sidecars. `refused` is told of every request for foreign names and must not block."""

    def __init__(
        self, publisher: Publisher, ledger: Ledger, refused: OnRefusal = lambda _refusal: None
    ) -> None:
        self._publisher = publisher
        self._ledger = ledger
        self._refused = refused

    def register(self, server: grpc.aio.Server) -> None:
        """On a server that demands client certificates and was made with bartizan.xds.server.SERVER_OPTIONS."""
        AdsServer(self.open).register(server, sds=False)

    async def open(self, peer: PeerInfo, node_id: str) -> Session:
        """Raises Forbidden unless the instance `node_id` was attested to the peer's SPIFFE id, Crowded."""
        try:
            subscriber = await self._publisher.subscribe(node_id, peer.spiffe_id)
        except Forbidden:
            logger.warning("sidecar_refused", instance_id=node_id[:_SHOWN_TEXT], spiffe_id=peer.spiffe_id)
            self._refused(_refusal(peer.spiffe_id or "", node_id, peer.address, "instance", ()))
            raise
        if subscriber.streams > MOST_STREAMS:
            self._publisher.unsubscribe(subscriber)
            CALLS_REFUSED.labels(reason="streams").inc()
            raise Crowded(f"this sidecar has {MOST_STREAMS} streams open")
        logger.info("sidecar_connected", instance_id=node_id, spiffe_id=peer.spiffe_id)
        return _Stream(self._publisher, subscriber, self._ledger, self._refused, peer.address)


def _refusal(spiffe_id: str, instance: str, address: str, kind: str, asked: Sequence[str]) -> AdminEvent:
    """It asked for names that are not its own, or said that it is another instance; it got nothing of them."""
    names = [name[:_SHOWN_TEXT] for name in asked[:_SHOWN_NAMES]]
    return AdminEvent(
        time=time.time(),
        actor=spiffe_id,
        act="subscription.refuse",
        target=instance[:_SHOWN_TEXT],
        detail={"type": kind, "names": names},
        peer=address,
    )


def _own(subscriber: Subscriber, type_url: str) -> frozenset[str]:
    match type_url:
        case _ if type_url == TYPE_BUNDLE:
            return subscriber.entitled.bundles
        case _ if type_url == TYPE_KEY_SET:
            return subscriber.key_sets
        case _ if type_url == TYPE_SECRET:
            return frozenset(subscriber.secrets)
        case _:
            return frozenset()


def _parse(version: str) -> tuple[str, int]:
    """ "<policy>@<version>"; ("", 0) for "none"."""
    policy, _, number = version.rpartition("@")
    return (policy, int(number)) if policy and number.isdigit() else ("", 0)
