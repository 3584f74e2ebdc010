"""What Envoy is served over xds.sock: the bundle's resources over ADS, secrets over SDS, both from the agent's memory.

Also knows what Envoy answered. An ACK is only one step of the proof (Envoy ACKs warming listeners); apply.py probes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import grpc
from google.protobuf.message import Message

from bartizan.errors import ResourceRejected
from bartizan.policy.bundle import EnvoyResources
from bartizan.policy.names import TYPE_CLUSTER, TYPE_EXTENSION, TYPE_LISTENER, TYPE_ROUTES, TYPE_SECRET
from bartizan.telemetry.logging import get_logger
from bartizan.xds.resources import from_json
from bartizan.xds.server import SERVER_OPTIONS, AdsServer, PeerInfo, Session
from bartizan.xds.snapshot import Publication, Resources, Snapshot
from sidecar.agent import attempts
from sidecar.agent.changes import Changes
from sidecar.agent.envoy_keys import EnvoyKeys
from sidecar.agent.sds import HeldSecret, secret_resources

_TYPES = (TYPE_CLUSTER, TYPE_EXTENSION, TYPE_LISTENER, TYPE_ROUTES)
_ASKED_BY_NAME = frozenset({TYPE_EXTENSION, TYPE_ROUTES})
_PATHS = {
    TYPE_CLUSTER: "spec.model",
    TYPE_EXTENSION: "spec.authn.jwt",
    TYPE_LISTENER: "spec.listener",
    TYPE_ROUTES: "spec.routes",
}
_MAX_REASON = 300

log = get_logger()


class EnvoyConfig:
    """The one publication of this pod's Envoy."""

    def __init__(self, changes: Changes, *, workers: int = 1) -> None:
        self._changes = changes
        self._workers = workers
        self._secrets: dict[str, HeldSecret] = {}
        self._acked: dict[str, str] = {}
        self._refused: dict[str, tuple[str, str]] = {}
        self._keys = EnvoyKeys()
        empty = Resources.of({})
        self._extensions = empty
        self._publication = Publication(
            Snapshot({**dict.fromkeys(_TYPES, empty), TYPE_SECRET: secret_resources({})})
        )

    async def serve(self, socket: Path) -> grpc.aio.Server:
        """Listen on a unix socket (mode 0600) until the returned server is stopped."""
        server = grpc.aio.server(options=list(SERVER_OPTIONS))
        AdsServer(self._open).register(server)
        socket.unlink(missing_ok=True)
        server.add_insecure_port(f"unix:{socket}")
        await server.start()
        socket.chmod(0o600)
        return server

    async def _open(self, _peer: PeerInfo, _node: str) -> Session:
        return _EnvoySession(self._publication, self)

    @staticmethod
    def read(envoy: EnvoyResources) -> Mapping[str, Resources]:
        """A bundle's resources as messages. Raises ResourceRejected when one can't be read."""
        kinds = {
            TYPE_CLUSTER: envoy.clusters,
            TYPE_EXTENSION: envoy.extensions,
            TYPE_LISTENER: envoy.listeners,
            TYPE_ROUTES: envoy.routes,
        }
        return {
            kind: Resources.of(
                {str(item.get("name", "")): cast("Message", from_json(item)) for item in items}
            )
            for kind, items in kinds.items()
        }

    def publish(self, resources: Mapping[str, Resources] | None) -> Snapshot:
        """Serve these from now on; None: no listener at all, so everything is refused by absence."""
        snapshot = self._publication.current
        self._extensions = resources[TYPE_EXTENSION] if resources else Resources.of({})
        for kind in _TYPES:
            if kind == TYPE_EXTENSION:
                wanted = self._keys.fill(self._extensions)
            else:
                wanted = resources[kind] if resources else Resources.of({})
            if kind == TYPE_LISTENER:
                wanted = attempts.limited(wanted, self._workers)
            snapshot = self._replaced(snapshot, kind, wanted)
        self._publication.publish(snapshot)
        return snapshot

    def _replaced(self, snapshot: Snapshot, kind: str, wanted: Resources) -> Snapshot:
        self._refused.pop(kind, None)
        if snapshot.types[kind].version != wanted.version:
            # taken once, but something else was sent since: only a new answer says what holds
            self._acked.pop(kind, None)
        return snapshot.replace(kind, wanted)

    def set_jwks(self, issuer: str, jwks: Mapping[str, Any]) -> None:
        """An issuer's keys, for tokens that Envoy judges by itself. They change one filter's configuration and no listener."""
        if self._keys.set(issuer, jwks) and self._extensions.items:
            self._publish_keys()

    def _publish_keys(self) -> None:
        filled = self._keys.fill(self._extensions)
        self._publication.publish(self._replaced(self._publication.current, TYPE_EXTENSION, filled))

    async def applied(self, snapshot: Snapshot, timeout: float) -> None:
        """Wait until Envoy ACKed every type. Raises ResourceRejected with Envoy's reason, or when it says nothing."""

        def outcome() -> bool:
            return self._refusal(snapshot) is not None or self.acked(snapshot)

        done = await self._changes.until(outcome, timeout)
        if refusal := self._refusal(snapshot):
            kind, reason = refusal
            raise ResourceRejected(f"envoy_refused: {reason}", _document_path(kind, reason))
        if not done:
            raise ResourceRejected("envoy_timeout")

    def acked(self, snapshot: Snapshot) -> bool:
        """Whether Envoy took every type of this snapshot. It answers to no listeners and no clusters too; routes and
        filters it asks for by name, so without any there is nothing that it could answer. Of filters the newest
        counts: issuers' keys change without a new bundle.
        """
        return all(
            self._acked.get(kind) == self._wanted(snapshot, kind).version
            or (kind in _ASKED_BY_NAME and not snapshot.types[kind].items)
            for kind in _TYPES
        )

    def _wanted(self, snapshot: Snapshot, kind: str) -> Resources:
        return (self._publication.current if kind == TYPE_EXTENSION else snapshot).types[kind]

    def _refusal(self, snapshot: Snapshot) -> tuple[str, str] | None:
        for kind, (version, reason) in self._refused.items():
            if kind in _TYPES and self._wanted(snapshot, kind).version == version:
                return kind, reason
        return None

    def put_secret(self, held: HeldSecret) -> None:
        """Serve this secret to whoever names it. None is forgotten: the control plane sends only what is new, and a
        secret may come before the bundle that names it.
        """
        self._secrets[held.secret.name] = held
        self._publish_secrets()

    def put_back_secret(self, name: str, held: HeldSecret | None) -> None:
        """Serve under this name what was served before; None: nothing."""
        if held is None:
            self._secrets.pop(name, None)
        else:
            self._secrets[name] = held
        self._publish_secrets()

    @property
    def secrets(self) -> Mapping[str, HeldSecret]:
        return self._secrets

    def _publish_secrets(self) -> None:
        current = self._publication.current
        self._publication.publish(current.replace(TYPE_SECRET, secret_resources(self._secrets)))

    def forget_answers(self) -> None:
        """Envoy is a new process: what its predecessor took says nothing."""
        self._acked.clear()
        self._refused.clear()
        self._changes.notify()

    def on_ack(self, kind: str, version: str) -> None:
        self._acked[kind] = version
        self._refused.pop(kind, None)
        self._changes.notify()

    def on_nack(self, kind: str, version: str, reason: str) -> None:
        cleaned = clean_reason(reason)
        log.warning("envoy_refused", type=kind.rpartition(".")[2], version=version, reason=cleaned)
        self._refused[kind] = (version, cleaned)
        if kind == TYPE_EXTENSION and self._keys.clear():
            # it would go on with the keys from before, revoked ones too
            self._publish_keys()
        self._changes.notify()


class _EnvoySession:
    """One stream of Envoy: ADS, or SDS for one secret."""

    def __init__(self, publication: Publication, owner: EnvoyConfig) -> None:
        self._publication = publication
        self._owner = owner

    @property
    def publication(self) -> Publication:
        return self._publication

    def on_subscribe(self, type_url: str, names: frozenset[str]) -> frozenset[str]:  # noqa: ARG002
        return names

    def on_ack(self, type_url: str, version: str, nonce: str) -> None:  # noqa: ARG002
        self._owner.on_ack(type_url, version)

    def on_nack(self, type_url: str, version: str, reason: str) -> None:
        self._owner.on_nack(type_url, version, reason)

    def closed(self) -> None:
        """Nothing to do: what Envoy took stays taken."""


def clean_reason(reason: str) -> str:
    """Envoy's reason without the configuration that some of its messages repeat."""
    text = re.split(r"goo\.gle/debug|\n|\{", reason, maxsplit=1)[0].strip(" :")
    return text[:_MAX_REASON] or "no reason given"


def _document_path(kind: str, reason: str) -> str:
    lowered = reason.lower()
    if kind == TYPE_LISTENER and ("bind" in lowered or "address" in lowered):
        return "spec.listener.port"
    return _PATHS[kind]
