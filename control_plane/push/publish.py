"""Builds and announces what every connected sidecar shall have; told of each change by whoever makes it.

Last stop of a policy in the control plane (store -> here -> push/service.py -> ADS). One snapshot per connected
sidecar; the ADS server sends only what changed in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from google.protobuf.any_pb2 import Any as AnyMessage

from bartizan.errors import BartizanError, Forbidden, InvalidInput
from bartizan.policy.names import TYPE_BUNDLE, TYPE_KEY_SET, TYPE_SECRET
from bartizan.telemetry.logging import get_logger
from bartizan.telemetry.metrics import PUBLISHED
from bartizan.xds.snapshot import Publication, Resources, Snapshot, pack
from control_plane.fleet.ledger import Ledger
from control_plane.fleet.proof import Instance
from control_plane.fleet.service import instance_of
from control_plane.push.entitlement import Entitlement, Published, entitlement, published
from control_plane.push.keysets import SignedKeySets, SignKeySet
from control_plane.store.base import PublicationRow, Store, Work
from protos.gen.envoy.extensions.transport_sockets.tls.v3 import secret_pb2

logger = get_logger()

RESYNC_SECONDS = 30.0
_RESIGN_ROUNDS = 240

_NO_BUNDLE = Resources("none", {})


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretValue:
    """What the emitters of a secret use: one generation's value, without any header prefix."""

    generation: int
    value: str = field(repr=False)


@dataclass(slots=True)
class Subscriber:
    """One connected sidecar. Several streams of it may be open for a moment, when it reconnects."""

    instance: Instance
    publication: Publication
    entitled: Entitlement = field(default_factory=Entitlement)
    key_sets: frozenset[str] = frozenset()
    secrets: Mapping[str, str] = field(default_factory=dict)
    streams: int = 0

    def entitle(self, entitled: Entitlement, enforced_version: int) -> None:
        """Until the new version is proven the old one may go on being enforced: what that one needs is kept current."""
        before, now = self.entitled.policy, entitled.policy
        same = now is not None and (before is None or before.wanted.policy == now.wanted.policy)
        keep = same and now is not None and enforced_version != now.wanted.version
        self.key_sets = entitled.key_sets | (self.key_sets if keep else frozenset())
        secrets = dict(now.secrets) if now else {}
        self.secrets = {**self.secrets, **secrets} if keep else secrets
        self.entitled = entitled


class Publisher:
    """Call `start` once, keep `run` running, and call the `…_changed` methods after the change is stored."""

    def __init__(self, store: Store, ledger: Ledger, sign_key_set: SignKeySet) -> None:
        self._store = store
        self._ledger = ledger
        self._key_sets = SignedKeySets(sign_key_set)
        self._published: dict[str, Published] = {}
        self._secrets: dict[str, SecretValue] = {}
        self._subscribers: dict[str, Subscriber] = {}
        # Reading the store and taking over what was read must not be overtaken by a newer reading.
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        """Load what is published. Raises DependencyError."""
        await self.resync()

    async def run(self) -> None:
        """Look at the store now and then: other replicas change it too. Until cancelled."""
        rounds = 0
        while True:
            await asyncio.sleep(RESYNC_SECONDS)
            rounds += 1
            try:
                await self.resync()
            except BartizanError as error:
                logger.warning("resync_failed", reason=str(error))
            if rounds % _RESIGN_ROUNDS == 0:
                self.sign_again()

    async def resync(self) -> None:
        """Take over everything that the store holds. Raises DependencyError."""
        async with self._lock:
            known = self._ledger.instances()
            async with self._store.begin() as work:
                rows = await work.policies.published()
                for row in rows:
                    await self._take(work, row)
                for name in self._named_key_sets():
                    await self._load_key_set(work, name)
                present = {row.instance_id for row in await work.instances.all()}
            for name in self._published.keys() - {row.policy for row in rows}:
                self._drop(name)
            for instance in known:
                if instance.instance_id not in present:
                    self._dismiss(instance.instance_id)
            self._refresh(self._subscribers)

    async def policy_changed(self, name: str) -> None:
        """Its newest publication is another one now, or it was deleted. Raises DependencyError."""
        async with self._lock:
            async with self._store.begin() as work:
                policy = await work.policies.get(name)
                rows = await work.policies.publications(name, limit=1)
                if policy is None or policy.deleted_at is not None or not rows:
                    self._drop(name)
                else:
                    await self._take(work, rows[0])
                    if name in self._published and self._published[name].key_set:
                        await self._load_key_set(work, self._published[name].key_set)
            PUBLISHED.inc()
            namespace = name.partition("/")[0]
            self._refresh(s for s, one in self._subscribers.items() if one.instance.namespace == namespace)

    async def key_set_changed(self, name: str) -> None:
        """A key was issued or revoked. Raises DependencyError."""
        async with self._lock:
            if name not in self._named_key_sets():
                return
            async with self._store.begin() as work:
                fresh = await self._load_key_set(work, name)
            if fresh:
                self._refresh(s for s, one in self._subscribers.items() if name in one.key_sets)

    def sign_again(self) -> None:
        """The control plane has a new certificate: send the key sets signed with it."""
        self._key_sets.sign_again()
        self._refresh(self._subscribers)

    def put_secret(self, name: str, generation: int, value: str) -> None:
        """From now on emitters use this generation. Idempotent; going back to an older generation is a rollback."""
        self._secrets[name] = SecretValue(generation=generation, value=value)
        self._refresh(s for s, one in self._subscribers.items() if name in one.secrets)

    def entitled_to_secret(self, name: str) -> tuple[str, ...]:
        """Instance ids, connected or not, that get this secret: the members of a rotation's barriers."""
        policies = [policy for policy in self._published.values() if name in policy.secrets]
        return tuple(
            sorted(
                instance.instance_id
                for instance in self._ledger.instances()
                if any(policy.wanted.selects(instance) for policy in policies)
            )
        )

    def reported(self, instance_id: str) -> None:
        """A sidecar has announced what it can enforce, or what it enforces now."""
        self._refresh((instance_id,) if instance_id in self._subscribers else ())

    async def instance_removed(self, instance_id: str) -> None:
        """Its streams end, and it can't come back."""
        self._dismiss(instance_id)

    async def subscribe(self, instance_id: str, spiffe_id: str | None) -> Subscriber:
        """A stream of a sidecar opens; call `unsubscribe` at its end. Raises Forbidden, DependencyError."""
        async with self._store.begin() as work:
            row = await work.instances.get(instance_id)
        if row is None or row.removed_at is not None or spiffe_id is None or row.spiffe_id != spiffe_id:
            raise Forbidden("no such instance of this identity")
        instance = instance_of(row)
        self._ledger.admit(instance)
        kept = await self._still_enforced(instance) if instance_id not in self._subscribers else frozenset()
        subscriber = self._subscribers.get(instance_id)
        if subscriber is None:
            subscriber = Subscriber(instance=instance, publication=Publication(), key_sets=kept)
            self._subscribers[instance_id] = subscriber
        subscriber.streams += 1
        self._refresh((instance_id,))
        return subscriber

    def unsubscribe(self, subscriber: Subscriber) -> None:
        subscriber.streams -= 1
        name = subscriber.instance.instance_id
        if subscriber.streams == 0 and self._subscribers.get(name) is subscriber:
            del self._subscribers[name]

    async def _take(self, work: Work, row: PublicationRow) -> None:
        known = self._published.get(row.policy)
        if known is not None and known.wanted.version >= row.version:
            return
        revision = await work.policies.revision(row.policy, row.revision)
        try:
            taken = published(row, revision.document if revision else "")
        except InvalidInput as error:
            logger.error("publication_unreadable", policy=row.policy, version=row.version, reason=str(error))
            return
        self._published[row.policy] = taken
        self._ledger.want(taken.wanted)

    async def _load_key_set(self, work: Work, name: str) -> bool:
        fresh = await self._key_sets.load(work, name)
        self._ledger.want_key_set(name, self._key_sets.newest(name))
        return fresh

    def _drop(self, name: str) -> None:
        self._published.pop(name, None)
        self._ledger.unwant(name)

    def _dismiss(self, instance_id: str) -> None:
        self._ledger.dismiss(instance_id)
        subscriber = self._subscribers.pop(instance_id, None)
        if subscriber is not None:
            subscriber.publication.close()

    def _named_key_sets(self) -> frozenset[str]:
        """Those of the newest policies, and those of older ones that sidecars still enforce: a revocation gets to all."""
        newest = (policy.key_set for policy in self._published.values() if policy.key_set)
        return frozenset(newest).union(*(one.key_sets for one in self._subscribers.values()))

    async def _still_enforced(self, instance: Instance) -> frozenset[str]:
        """The key set of the older version that a sidecar says it enforces, if that one was published for it."""
        seen = self._ledger.observation(instance.instance_id)
        if seen is None or not seen[0].policy or not seen[0].version:
            return frozenset()
        name, version = seen[0].policy, seen[0].version
        newest = self._published.get(name)
        if newest is None or newest.wanted.version == version or not newest.wanted.selects(instance):
            return frozenset()
        async with self._lock, self._store.begin() as work:
            row = await work.policies.publication(name, version)
            revision = await work.policies.revision(name, row.revision) if row else None
            if row is None or revision is None:
                return frozenset()
            try:
                older = published(row, revision.document)
            except InvalidInput:
                return frozenset()
            if not older.key_set or not older.wanted.selects(instance):
                return frozenset()
            await self._load_key_set(work, older.key_set)
            return frozenset({older.key_set})

    def _refresh(self, instance_ids: Iterable[str]) -> None:
        for name in list(instance_ids):
            subscriber = self._subscribers[name]
            seen = self._ledger.observation(name)
            capabilities = seen[0].capabilities if seen else frozenset()
            entitled = entitlement(subscriber.instance, self._published.values(), capabilities)
            if entitled.ambiguous:
                logger.error("policies_ambiguous", instance_id=name, policies=entitled.ambiguous)
            subscriber.entitle(entitled, seen[0].version if seen else 0)
            snapshot = self._snapshot(subscriber)
            self._ledger.sent(name, frozenset(snapshot.types[TYPE_SECRET].items))
            if snapshot != subscriber.publication.current:
                subscriber.publication.publish(snapshot)

    def _snapshot(self, subscriber: Subscriber) -> Snapshot:
        policy, withheld = subscriber.entitled.policy, subscriber.entitled.withheld
        types = {
            TYPE_KEY_SET: self._key_set_resources(subscriber.key_sets),
            TYPE_SECRET: self._secret_resources(subscriber.secrets),
        }
        if not withheld:  # a type that is absent leaves the sidecar with what it has
            types[TYPE_BUNDLE] = policy.bundle if policy else _NO_BUNDLE
        return Snapshot(MappingProxyType(types))

    def _key_set_resources(self, names: frozenset[str]) -> Resources:
        found = {name: held for name in sorted(names) if (held := self._key_sets.get(name))}
        version = ",".join(f"{name}@{number}" for name, (number, _) in found.items())
        return Resources(version, {name: message for name, (_, message) in found.items()})

    def _secret_resources(self, prefixes: Mapping[str, str]) -> Resources:
        """The version string names every secret's generation: "<name>@<generation>,…"."""
        items: dict[str, AnyMessage] = {}
        for name, prefix in sorted(prefixes.items()):
            held = self._secrets.get(name)
            if held is not None:
                secret = secret_pb2.Secret(name=name)
                secret.generic_secret.secret.inline_string = prefix + held.value
                items[name] = pack(secret)
        return Resources(",".join(f"{name}@{self._secrets[name].generation}" for name in items), items)
