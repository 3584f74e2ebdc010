"""API keys: issue, list, revoke. A key is shown once; what stays is its hash, in a set that only rises in version."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Sequence

from bartizan.api import IssuedKey, IssueKey
from bartizan.errors import NotFound
from bartizan.policy.keyset import KeyRecord, key_hash, new_key
from control_plane.policies.actor import Actor
from control_plane.store.base import KeyRow, KeySetRow, Store

KeySetChanged = Callable[[str], Awaitable[None]]
"""Tells the push side that a set has a new version; called after the change is stored."""


class Keys:
    """Key sets of the control plane."""

    def __init__(
        self, store: Store, changed: KeySetChanged, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._changed = changed
        self._clock = clock

    async def create_set(self, name: str, actor: Actor) -> KeySetRow:
        """Idempotent."""
        now = self._clock()
        async with self._store.begin() as work:
            fresh = await work.key_sets.ensure(name, at=now, by=actor.label)
            if fresh:
                await work.events.record(actor.event(now, "key_set.create", name))
            [made] = await work.key_sets.rows(name)
        if fresh:
            await self._changed(name)
        return made

    async def sets(self) -> Sequence[KeySetRow]:
        async with self._store.begin() as work:
            return await work.key_sets.rows()

    async def issue(self, name: str, ask: IssueKey, actor: Actor) -> IssuedKey:
        """Raises NotFound when there is no such set."""
        now = self._clock()
        key = new_key()
        record = KeyRecord(
            id=secrets.token_hex(8),
            hash=key_hash(key),
            tenant=ask.tenant,
            plan=ask.plan,
            region=ask.region,
            models=ask.models,
            expires_at=None if ask.ttl_seconds is None else now + ask.ttl_seconds,
        )
        async with self._store.begin() as work:
            row = KeyRow(key_set=name, record=record, created_at=now, created_by=actor.label)
            version = await work.key_sets.add_key(row)
            detail = {"key_id": record.id, "tenant": record.tenant, "version": version}
            await work.events.record(actor.event(now, "key.issue", name, detail))
        await self._changed(name)
        return IssuedKey(id=record.id, key=key)

    async def version(self, name: str) -> int:
        """Raises NotFound."""
        async with self._store.begin() as work:
            versions = await work.key_sets.versions()
        if name not in versions:
            raise NotFound(f"no key set {name}")
        return versions[name]

    async def keys(
        self, name: str, *, after: tuple[float, str] | None = None, limit: int | None = None
    ) -> tuple[int, Sequence[KeyRow]]:
        """The set's version and its records, revoked ones too; in pages as the store has them. Raises NotFound."""
        async with self._store.begin() as work:
            versions = await work.key_sets.versions()
            if name not in versions:
                raise NotFound(f"no key set {name}")
            return versions[name], await work.key_sets.keys(name, after=after, limit=limit)

    async def revoke(self, name: str, key_id: str, actor: Actor) -> None:
        """Raises NotFound when there is no such key, or when it was revoked before."""
        now = self._clock()
        async with self._store.begin() as work:
            version = await work.key_sets.revoke(name, key_id, at=now, by=actor.label)
            if version is None:
                raise NotFound(f"no valid key {key_id} in key set {name}")
            detail = {"key_id": key_id, "version": version}
            await work.events.record(actor.event(now, "key.revoke", name, detail))
        await self._changed(name)
