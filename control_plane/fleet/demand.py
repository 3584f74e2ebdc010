"""What is asked for: of each policy the newest publication, of each key set the newest version. The ledger joins it with what
sidecars say.
"""

from __future__ import annotations

from control_plane.fleet.bell import Bell
from control_plane.fleet.proof import Wanted


class Demand(Bell):
    """In memory, fed by push/publish.py. Rings when something else is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self._wanted: dict[str, Wanted] = {}
        self._key_sets: dict[str, int] = {}

    def want(self, wanted: Wanted) -> None:
        """Replace what is asked for under this policy's name."""
        if self._wanted.get(wanted.policy) != wanted:
            self._wanted[wanted.policy] = wanted
            self.ring()

    def unwant(self, policy: str) -> None:
        """The policy is gone."""
        if self._wanted.pop(policy, None) is not None:
            self.ring()

    def wanted(self, policy: str) -> Wanted | None:
        return self._wanted.get(policy)

    def want_key_set(self, name: str, version: int) -> None:
        """The newest version of a key set, 0 when there is none."""
        if self._key_sets.get(name, 0) != version:
            self._key_sets[name] = version
            self.ring()

    def key_set_version(self, name: str) -> int:
        """0 when there is no such set, or no policy that names it."""
        return self._key_sets.get(name, 0)
