"""What the ledger knows of one sidecar, and which of two words about it is the newer one. Pure; used by ledger.py."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace

from control_plane.fleet.proof import Instance, Observation, Refused

_OLD_BOOTS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What another replica was told by a sidecar. live: within its lease, as that replica says."""

    instance_id: str
    seen: Observation
    received_at: float
    replica: str
    live: bool


@dataclass(slots=True)
class Entry:
    """holder: the replica that it reports to, "" for this one; held: that replica says it is within its lease."""

    instance: Instance
    admitted: float
    seen: Observation | None = None
    received_at: float = 0.0
    lease_until: float = 0.0
    restored: bool = False
    refused: Refused | None = None
    inherited: bool = False
    sending: frozenset[str] = frozenset()
    sent: frozenset[str] = frozenset()
    holder: str = ""
    held: bool = False
    old_boots: deque[str] = field(default_factory=lambda: deque(maxlen=_OLD_BOOTS))

    def take(self, seen: Observation) -> None:
        """The newest word. One about a version that it refused before ends the refusal."""
        if self.seen is not None and self.seen.boot_id != seen.boot_id and not self.restored:
            self.old_boots.append(self.seen.boot_id)
        self.seen, self.restored = seen, False
        refused = self.refused
        if refused is not None and seen.policy == refused.policy and seen.version >= refused.version:
            self.refused = None

    def older_than(self, told: Told) -> bool:
        """Of one process its own numbers tell what is newer, between two the time; a holder may say the same again."""
        if self.seen is None:
            return True
        if self.seen.boot_id == told.seen.boot_id:
            again = told.seen.sequence == self.seen.sequence and (
                self.restored or told.replica == self.holder
            )
            return again or told.seen.sequence > self.seen.sequence
        return told.seen.boot_id not in self.old_boots and told.received_at > self.received_at


def content(seen: Observation) -> Observation:
    """Without what every heartbeat changes; that a probe grew too old is a change."""
    probe_at = 0.0 if seen.probe_fresh else -1.0
    return replace(seen, sequence=0, sent_at=0.0, probe_at=probe_at, trace_id="")
