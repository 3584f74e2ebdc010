"""Who runs what: joins what each policy asks for with what each sidecar says and proves. Time is given from outside.

Fed by fleet/service.py (heartbeats), push/service.py (ACK, NACK) and push/publish.py (what is wanted); read by status
pages, `policy apply --wait` and rotation barriers. "Accepted" never counts as "enforced".
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping

from bartizan.telemetry.metrics import INSTANCES
from control_plane.fleet.demand import Demand
from control_plane.fleet.entry import Entry, Told, content
from control_plane.fleet.proof import (
    Instance,
    Observation,
    Refused,
    Row,
    State,
    Wanted,
    judge,
    row_of,
    split_reason,
)
from control_plane.secrets.rotation.barriers import Use

LEASE_SECONDS = 30


class Ledger(Demand):
    """In memory, for one event loop. `monotonic` decides about leases; `clock`, which replicas share, says when a
    report came, and so which of two processes of a sidecar is the newer one where they told different replicas.

    shared: there may be other replicas. What they are told comes by `adopt`; what they sent to a sidecar is not known
    here, so one that is silent counts wherever it is entitled.
    """

    def __init__(
        self,
        *,
        lease: float = LEASE_SECONDS,
        shared: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        self.lease = lease
        self._shared = shared
        self._monotonic = monotonic
        self._clock = clock
        self._entries: dict[str, Entry] = {}
        self._live: set[str] = set()
        """By the last word of each, or the last sweep: one report must not cost a look at the whole fleet."""
        self._news: set[str] = set()
        self._replicas: frozenset[str] = frozenset()

    # who there is

    def admit(self, instance: Instance, *, inherited: bool = False) -> None:
        """A sidecar that may report; known ones keep what they reported.

        inherited: known from before this process, which can't tell what it was sent.
        """
        entry = self._entries.get(instance.instance_id)
        if entry is None:
            self._entries[instance.instance_id] = Entry(
                instance=instance, admitted=self._monotonic(), inherited=inherited or self._shared
            )
            self._ring()
        elif entry.instance != instance:
            entry.instance = instance
            self._ring()

    def dismiss(self, instance_id: str) -> None:
        """Removed: it no longer counts anywhere."""
        if self._entries.pop(instance_id, None) is not None:
            self._live.discard(instance_id)
            self._news.add(instance_id)
            self._ring()

    def instance(self, instance_id: str) -> Instance | None:
        entry = self._entries.get(instance_id)
        return entry.instance if entry else None

    def instances(self) -> tuple[Instance, ...]:
        """All that were admitted, live or not."""
        return tuple(entry.instance for entry in self._entries.values())

    # what they say

    def observe(self, instance_id: str, seen: Observation) -> bool:
        """Take a heartbeat of an admitted sidecar; False when it is older than what is known (nothing changes then)."""
        entry = self._entries[instance_id]
        before = entry.seen
        if before is not None and not entry.restored:
            if before.boot_id == seen.boot_id and seen.sequence <= before.sequence:
                return False
            if seen.boot_id in entry.old_boots:
                return False
        fresh = entry.restored or before is None or entry.holder != "" or not self.is_live(instance_id)
        entry.take(seen)
        entry.holder, entry.inherited = "", self._shared
        # What it neither is sent any more nor shows, it no longer emits.
        entry.sent = entry.sending | (entry.sent & seen.secret_versions.keys())
        entry.received_at = self._clock()
        entry.lease_until = self._monotonic() + self.lease
        self._live.add(instance_id)
        if fresh or before is None or content(before) != content(seen):
            self._news.add(instance_id)
            self._ring()
        return True

    def restore(self, instance_id: str, seen: Observation, received_at: float) -> None:
        """What an earlier control plane process was told: shown as stale until the sidecar reports again."""
        entry = self._entries.get(instance_id)
        if entry is not None and entry.seen is None:
            entry.seen, entry.received_at, entry.restored = seen, received_at, True
            self._news.add(instance_id)
            self._ring()

    def adopt(self, told: Iterable[Told]) -> None:
        """What other replicas were told of admitted sidecars, unless something newer is known."""
        changed = False
        for each in told:
            entry = self._entries.get(each.instance_id)
            if entry is not None and entry.older_than(each):
                entry.take(each.seen)
                self._news.add(each.instance_id)
                entry.received_at, entry.holder, entry.held = each.received_at, each.replica, each.live
                (self._live.add if self.is_live(each.instance_id) else self._live.discard)(each.instance_id)
                changed = True
        if changed:
            self._ring()

    def replicas(self, alive: frozenset[str]) -> None:
        """Those whose word about their sidecars counts; none while this replica can't follow the others."""
        if alive == self._replicas:
            return
        for entry in self._entries.values():
            if entry.holder in self._replicas - alive:
                # Its sidecars need a moment to find another one.
                entry.lease_until = self._monotonic() + self.lease
        self._replicas = alive
        self._live = set(self.live())
        self._ring()

    def sent(self, instance_id: str, secrets: frozenset[str]) -> None:
        """Names of the secrets that it is sent now: it may emit them before it says so."""
        entry = self._entries.get(instance_id)
        if entry is not None:
            entry.sending, entry.sent = secrets, entry.sent | secrets

    def acked(self, instance_id: str, policy: str, version: int) -> None:
        """An ACK ends an earlier refusal. It proves nothing, so nothing else changes."""
        entry = self._entries.get(instance_id)
        refused = entry.refused if entry is not None else None
        if entry is not None and refused is not None:
            if refused.policy != policy or version < refused.version:
                return
            entry.refused = None
            self._ring()

    def nacked(self, instance_id: str, policy: str, version: int, reason: str) -> None:
        """The sidecar refused this version; reason may start with a document path and ": "."""
        entry = self._entries.get(instance_id)
        if entry is not None:
            path, text = split_reason(reason)
            entry.refused = Refused(policy=policy, version=version, reason=text, path=path)
            self._ring()

    # what follows

    def is_live(self, instance_id: str) -> bool:
        """It has reported within its lease, to this process or to a replica that is alive."""
        entry = self._entries.get(instance_id)
        if entry is None or entry.restored:
            return False
        if entry.holder:
            return entry.held and entry.holder in self._replicas
        return self._monotonic() < entry.lease_until

    def reporting_here(self) -> frozenset[str]:
        """Those that are live because they report to this process."""
        return frozenset(name for name, entry in self._entries.items() if not entry.holder) & self.live()

    def live(self) -> frozenset[str]:
        """Instance ids whose lease has not expired."""
        return frozenset(name for name in self._entries if self.is_live(name))

    def observation(self, instance_id: str) -> tuple[Observation, float] | None:
        """The newest report and when it was received (epoch seconds), restored ones too."""
        entry = self._entries.get(instance_id)
        return None if entry is None or entry.seen is None else (entry.seen, entry.received_at)

    def news(self) -> frozenset[str]:
        """Of whom something new was taken since this was asked last, or who was dismissed. For one who asks."""
        news, self._news = frozenset(self._news), set()
        return news

    def proven(self, policy: str) -> bool:
        """Whether all that it selects have proven it. Ends at the first that has not, where `rows` makes one of each."""
        wanted = self._wanted.get(policy)
        return wanted is not None and all(
            self._judged(wanted, entry)[0] == "enforced"
            for entry in self._entries.values()
            if wanted.selects(entry.instance)
        )

    def rows(self, policy: str) -> tuple[Row, ...]:
        """Every sidecar that the policy selects, sorted by instance id; empty when nothing is wanted."""
        if (wanted := self._wanted.get(policy)) is None:
            return ()
        chosen = {name: entry for name, entry in self._entries.items() if wanted.selects(entry.instance)}
        return tuple(self._row(wanted, chosen[name]) for name in sorted(chosen))

    def key_set_users(self, name: str) -> Mapping[str, bool]:
        """Ids of those that accept keys of this set, and whether each is live and has the newest version in use."""
        newest, found = self._key_sets.get(name, 0), dict[str, bool]()
        for wanted in self._wanted.values():
            for instance_id, entry in self._entries.items():
                if not wanted.selects(entry.instance):
                    continue
                held = entry.seen.key_set_versions.get(name) if entry.seen else None
                older = held is not None and entry.seen is not None and entry.seen.version != wanted.version
                if wanted.key_set == name or older:
                    # one that is ahead refuses ours: an older store was restored
                    newest_held = held is not None and newest in {0, held}
                    current = newest_held and self.is_live(instance_id)
                    found[instance_id] = current and found.get(instance_id, True)
        return found

    def secret_users(self, secret: str, entitled: Iterable[str]) -> Mapping[str, Use]:
        """Every admitted sidecar that may emit a secret, with the version that its Envoy showed last.

        Live ones: those that are entitled or show it. Silent ones too, unless they never had it: an Envoy serves on
        without its agent. They count until they are back or removed.
        """
        chosen, found = frozenset(entitled), dict[str, Use]()
        for name, entry in sorted(self._entries.items()):
            version = entry.seen.secret_versions.get(secret, "") if entry.seen else ""
            live = self.is_live(name)
            may = name in chosen if live else secret in entry.sent or (entry.inherited and name in chosen)
            if version or may:
                found[name] = Use(version, lost=not (live or self._awaited(entry)))
        return found

    # time

    async def run(self) -> None:
        """Wake those who wait when leases expire. Until cancelled."""
        pause = 0.0
        while True:
            await asyncio.sleep(pause)
            pause = self.sweep()

    def sweep(self) -> float:
        """Notice expired leases; returns in how many seconds to look again."""
        if (live := self.live()) != self._live:
            self._live = set(live)
            self._ring()
        now = self._monotonic()
        ends = [self._entries[name].lease_until - now for name in live if not self._entries[name].holder]
        return max(0.05, min([*ends, self.lease / 4]))

    def _ring(self) -> None:
        INSTANCES.set(len(self._live))
        self.ring()

    def _awaited(self, entry: Entry) -> bool:
        """Silent since we or its replica ended, and only just: it may be on its way to us."""
        if entry.holder:
            away = entry.held and entry.holder not in self._replicas
            return away and self._monotonic() < entry.lease_until
        fresh = entry.restored or (entry.seen is None and entry.inherited)
        return fresh and self._monotonic() - entry.admitted < self.lease

    def _row(self, wanted: Wanted, entry: Entry) -> Row:
        return row_of(entry.instance, wanted, entry.seen, self._judged(wanted, entry), entry.received_at)

    def _judged(self, wanted: Wanted, entry: Entry) -> tuple[State, str, str]:
        if entry.seen is None:
            waited = self._monotonic() - entry.admitted < self.lease
            return ("pending", "not_reported_yet", "") if waited else ("unreachable", "never_reported", "")
        if self.is_live(entry.instance.instance_id):
            return judge(wanted, entry.seen, entry.refused, self._key_sets.get(wanted.key_set, 0))
        if self._awaited(entry):
            return "stale", "not_reported_since_restart" if entry.restored else "replica_away", ""
        return "unreachable", "lease_expired", ""
