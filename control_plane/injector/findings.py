"""Ways around the guard that an audit finds: what, where, how bad, how to mend it."""

from __future__ import annotations

from typing import Final

import msgspec

from control_plane.injector.rule import Severity

ORDER: Final = ("high", "medium", "low")


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """`object` is "Deployment prod/chat", `path` a document path in it, `source` the file or "cluster"."""

    severity: Severity
    code: str
    object: str
    path: str
    message: str
    hint: str
    source: str = ""

    def rank(self) -> tuple[int, str, str, str]:
        """Worst first, then by object and path."""
        return ORDER.index(self.severity), self.object, self.path, self.code
