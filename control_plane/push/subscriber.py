"""One connected sidecar: what it may have now. Pure; used by publish.py and service.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bartizan.xds.snapshot import Publication
from control_plane.fleet.proof import Instance
from control_plane.push.entitlement import Entitlement


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
