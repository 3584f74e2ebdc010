"""Barrier B as a pure function of the ledger: which live sidecars do not use a generation yet?"""

from __future__ import annotations

from collections.abc import Mapping


def behind(users: Mapping[str, str], generation: int) -> tuple[str, ...]:
    """Ids of those that do not use `generation`, sorted.

    users: every live instance whose policy uses the secret, and the version that its Envoy shows as active ("" when
    none). An instance is live until its lease ends: it may be serving until then.
    """
    wanted = str(generation)
    return tuple(sorted(instance for instance, version in users.items() if version != wanted))
