"""Barrier B as a pure function of the ledger: which live sidecars do not use a generation yet?

A sidecar counts until its lease and a margin have passed since its last report, because until then it may be serving.
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
    reported_at: float
    generation: str


def behind(members: Iterable[Member], generation: int, *, now: float, lease: float) -> tuple[str, ...]:
    """Ids of live members that do not use `generation`, sorted."""
    wanted = str(generation)
    return tuple(
        sorted(
            member.instance_id
            for member in members
            if now - member.reported_at <= lease + MARGIN_SECONDS and member.generation != wanted
        )
    )
