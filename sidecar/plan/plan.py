"""A plan as a worker runs it: everything of one policy revision, built and ready. Immutable but for rate buckets."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sidecar.checks.authz.rules import RuleSet
from sidecar.checks.base import CheckSet
from sidecar.checks.pipeline import HeadChecks
from sidecar.checks.query_history import QueryHistory
from sidecar.checks.scope import Scope
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
    """Method and path of every declared route. Other paths may hold personal data and are not recorded."""
    max_body_bytes: int
    shadow: bool
    answers_ask: bool = False
    """Whether an answer's judgement waits for another process: it is made in a thread then."""
    history: QueryHistory = field(default_factory=lambda: QueryHistory(clock=time.monotonic), repr=False)
    """The worker's memory of what callers asked: it outlives plans."""
    keys: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """The worker's keys of pseudonyms, by name: a newer one counts from the next exchange on."""

    def for_exchange(self, tenant: str) -> Plan:
        """The same plan with the content checks of one exchange; itself where they do not differ."""
        if not (self.input.binds or self.output.binds):
            return self
        scope = Scope(tenant=tenant, keys=self.keys)
        return replace(self, input=self.input.bound(scope), output=self.output.bound(scope))

    @property
    def asks_children(self) -> bool:
        """Whether a request's judgement waits for another process: it is made in a thread then."""
        return self.waf is not None or bool(self.input.images) or bool(self.input.asking)
