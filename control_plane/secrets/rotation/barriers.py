"""Barrier B as a pure function of the ledger: which live sidecars do not use a generation yet?

A sidecar counts until its lease and a margin have passed since its last report: until then it may be serving.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MARGIN_SECONDS = 1.0
"""Added to the lease: reports travel, clocks tick differently."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One instance whose policy uses the secret. `generation` as its Envoy shows it, "" when not active there."""

    instance_id: str
    age: float
    """Seconds since its last report, by a clock that never jumps. After a restart of the control plane an instance
    known from the store counts from the restart."""
    generation: str


def behind(members: Iterable[Member], generation: int, *, lease: float) -> tuple[str, ...]:
    """Ids of live members that do not use `generation`, sorted."""
    wanted = str(generation)
    return tuple(
        sorted(
            member.instance_id
            for member in members
            if member.age <= lease + MARGIN_SECONDS and member.generation != wanted
        )
    )
