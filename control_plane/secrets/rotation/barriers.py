"""Barrier B as a pure function of the ledger: which sidecars may still emit another generation than the wanted one?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Use:
    """What one instance said last of a secret: the version that its Envoy shows as active, "" when none.

    lost: its lease is over. Silence proves nothing: its Envoy and workers may go on without the agent.
    """

    version: str
    lost: bool = False


def behind(users: Mapping[str, Use], generation: int, *, first: bool = False) -> tuple[str, ...]:
    """Those that do not use `generation`, sorted: ids, and `instance_lost:<id>` for silent ones.

    users: every instance that may emit the secret and was not removed. A silent one holds until it is back or an
    operator removes it; for a `first` key there is no old one that it could emit, so then it does not.
    """
    wanted = str(generation)
    return tuple(
        sorted(
            f"instance_lost:{instance}" if use.lost else instance
            for instance, use in users.items()
            if use.version != wanted and not (first and use.lost)
        )
    )
