"""Builds and announces what every connected sidecar shall have; told of each change by whoever makes it.

Last stop of a policy in the control plane (store -> here -> push/service.py -> ADS). One snapshot per connected
sidecar; the ADS server sends only what changed in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from types import MappingProxyType

from bartizan.errors import BartizanError, DependencyUnavailable, Forbidden, InvalidInput
from bartizan.policy.names import TYPE_BUNDLE, TYPE_KEY_SET, TYPE_SECRET
from bartizan.telemetry.logging import get_logger
from bartizan.telemetry.metrics import PUBLISHED
from bartizan.xds.snapshot import Publication, Resources, Snapshot
from control_plane.fleet.ledger import Ledger
from control_plane.fleet.proof import Instance
from control_plane.fleet.service import instance_of
from control_plane.push.entitlement import Published, entitlement, published
from control_plane.push.keysets import SignedKeySets, SignKeySet
from control_plane.push.secret_values import SecretValues
from control_plane.push.subscriber import Subscriber
from control_plane.store.base import PublicationRow, Store, Work

logger = get_logger()

RESYNC_SECONDS = 30.0
_RESIGN_ROUNDS = 240

_NO_BUNDLE = Resources("none", {})


class Publisher:
    """Call `start` once, keep `run` running, and call the `…_changed` methods after the change is stored."""

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        sign_key_set: SignKeySet,
        *,
        follows: Callable[[], bool] = lambda: True,
    ) -> None:
        """follows: whether this replica knows what the others do; while it does not, nobody new is served."""
        self._store = store
        self._follows = follows
        self._ledger = ledger
        self._key_sets = SignedKeySets(sign_key_set)
        self._published: dict[str, Published] = {}
        self._looked_at: dict[str, int] = {}
        """Newest versions that were read, those that can't be understood too."""
        self._secrets = SecretValues()
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
        """Take over what the store holds and we don't. Raises DependencyError."""
        async with self._lock:
            async with self._store.begin() as work:
                heads = await work.policies.heads()
                moved = [name for name in heads if heads[name] != self._looked_at.get(name)]
                for name in moved:
                    await self._read(work, name, heads[name])
                versions = await work.key_sets.versions()
                named = self._named_key_sets()
                older = [name for name in named if self._key_sets.newest(name) != versions.get(name, 0)]
                for name in older:
                    await self._load_key_set(work, name)
                known = {instance.instance_id for instance in self._ledger.instances()}
                present = await work.instances.ids()
                for each in await work.instances.all() if present - known else ():
                    self._ledger.admit(instance_of(each))
            gone = self._looked_at.keys() - heads.keys()
            for name in gone:
                self._drop(name)
            for name in known - present:
                self._dismiss(name)
            if moved or older or gone:
                self._refresh(self._subscribers)

    async def policy_changed(self, name: str, row: PublicationRow | None = None, document: str = "") -> None:
        """Another publication (row, document: it and its revision; else they are read) or a deletion. Raises DependencyError."""
        async with self._lock:
            named = self._named_key_sets()
            if row is not None:
                self._take(row, document)
            else:
                async with self._store.begin() as work:
                    policy = await work.policies.get(name)
                    if policy is None or not policy.published:
                        self._drop(name)
                    else:
                        await self._read(work, name, policy.published)
            for key_set in self._named_key_sets() - named:  # `key_set_changed` follows the others
                async with self._store.begin() as work:
                    await self._load_key_set(work, key_set)
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

    def put_secret(self, name: str, generation: int, value: str | None) -> None:
        """From now on emitters use this generation. Idempotent; going back to an older generation is a rollback.

        Without a value nobody gets the secret who hasn't it yet: another generation may be the one that is accepted.
        """
        self._secrets.put(name, generation, value)
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

    async def instance_changed(self, instance_id: str) -> None:
        """Another replica attested or removed it. Raises DependencyError."""
        async with self._store.begin() as work:
            row = await work.instances.get(instance_id)
        if row is None or row.removed_at is not None:
            self._dismiss(instance_id)
        else:
            self._ledger.admit(instance_of(row))

    def send_away(self) -> None:
        """What we would go on telling them may be old: let them find another replica."""
        for subscriber in self._subscribers.values():
            subscriber.publication.close(_behind())
        self._subscribers.clear()

    async def subscribe(self, instance_id: str, spiffe_id: str | None) -> Subscriber:
        """A stream of a sidecar opens; call `unsubscribe` at its end. Raises Forbidden, DependencyError."""
        async with self._store.begin() as work:
            row = await work.instances.get(instance_id)
        if row is None or row.removed_at is not None or spiffe_id is None or row.spiffe_id != spiffe_id:
            raise Forbidden("no such instance of this identity")
        instance = instance_of(row)
        self._ledger.admit(instance)
        kept = await self._still_enforced(instance) if instance_id not in self._subscribers else frozenset()
        if not self._follows():
            raise _behind()
        if self._ledger.instance(instance_id) is None:  # removed while we looked for what it enforces
            raise Forbidden("no such instance of this identity")
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

    async def _read(self, work: Work, name: str, version: int) -> None:
        row = await work.policies.publication(name, version)
        revision = await work.policies.revision(name, row.revision) if row else None
        if row is not None:
            self._take(row, revision.document if revision else "")

    def _take(self, row: PublicationRow, document: str) -> None:
        known = self._published.get(row.policy)
        if known is not None and known.wanted.version >= row.version:
            return
        self._looked_at[row.policy] = row.version
        try:
            taken = published(row, document)
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
        self._looked_at.pop(name, None)
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
            TYPE_SECRET: self._secrets.resources(subscriber.secrets),
        }
        if not withheld:  # a type that is absent leaves the sidecar with what it has
            types[TYPE_BUNDLE] = policy.bundle if policy else _NO_BUNDLE
        return Snapshot(MappingProxyType(types))

    def _key_set_resources(self, names: frozenset[str]) -> Resources:
        found = {name: held for name in sorted(names) if (held := self._key_sets.get(name))}
        version = ",".join(f"{name}@{number}" for name, (number, _) in found.items())
        return Resources(version, {name: message for name, (_, message) in found.items()})


def _behind() -> DependencyUnavailable:
    return DependencyUnavailable("this replica does not follow the store at present")
