"""A plan as a worker runs it: everything of one policy revision, built and ready. Immutable but for rate buckets."""

from __future__ import annotations

from dataclasses import dataclass, field

from sidecar.checks.authz.rules import RuleSet
from sidecar.checks.base import CheckSet
from sidecar.checks.pipeline import HeadChecks
from sidecar.checks.validators.patches import Patches
from sidecar.checks.waf.check import WafCheck
from sidecar.formats.base import Format


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`hash` is what probes prove: the SHA-256 of the guard plan's canonical bytes."""

    id: str
    policy: str
    hash: str
    head: HeadChecks
    body_rules: RuleSet
    format: Format
    input: CheckSet
    output: CheckSet
    patches: Patches
    waf: WafCheck | None
    routes: frozenset[tuple[str, str]] = field(repr=False)
    """Method and path of every declared route."""
    max_body_bytes: int
    shadow: bool

    def declared_path(self, method: str, path: str) -> str:
        """The path if a route declares it, else "": undeclared paths may hold personal data and are not recorded."""
        return path if (method, path) in self.routes else ""
