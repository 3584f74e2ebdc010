"""The header phases in their order: authenticate, admit, authorize. Pure but for the rate buckets it is given.

Called by wire/ext_authz.py for every request; the content phases are in sidecar/exchange.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec

from sidecar.checks.admission.base import Admission
from sidecar.checks.authn.base import Authenticator, Material, Refused, presented_credentials
from sidecar.checks.authn.join import authenticate
from sidecar.checks.authz.rules import RuleSet
from sidecar.checks.authz.tenant import TenantGate
from sidecar.model.decision import Cause, Decision, allow, deny
from sidecar.model.kept import Kept
from sidecar.model.request import Identity, RequestHead
from sidecar.model.value import Value

Phase = Literal["authn", "admission", "authz", "request", "response", "guard"]
# The decompressor before the content hop takes gzip; anything else would reach the model uninspected.
_ENCODINGS = frozenset({"", "identity", "gzip"})


Mark = tuple[str, int, int]
"""A phase, and when it began and ended: nanoseconds since the epoch, for spans and metrics. A tuple, as every request has
several: it costs a tenth of a value with names.
"""


PHASES: tuple[Phase, ...] = ("authn", "admission", "authz")
"""In their order."""


class Verdict(Value, frozen=True, kw_only=True):
    """The outcome of the header phases. In shadow mode `decision` lets pass and `would` is what enforcing had said."""

    decision: Decision
    phase: Phase
    moments: tuple[int, ...] = ()
    """When the first of PHASES began, and when each that was begun ended: nanoseconds since the epoch."""
    would: Decision | None = None

    @property
    def marks(self) -> tuple[Mark, ...]:
        """The same by phase."""
        return tuple(zip(PHASES, self.moments, self.moments[1:], strict=False))


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadChecks:
    """The header phases of one plan."""

    methods: Sequence[Authenticator]
    admissions: Sequence[Admission]
    tenants: TenantGate
    rules: RuleSet
    shadow: bool = False
    clock_ns: Callable[[], int] = field(repr=False)

    def decide(self, head: RequestHead, material: Material) -> Verdict:
        """Run the phases. Authentication is enforced in shadow mode too: it never opens an endpoint to strangers."""
        clock = self.clock_ns
        started = clock()
        caller = authenticate(presented_credentials(head), self.methods, material, started / 1e9)
        authenticated = clock()
        if type(caller) is Refused:  # isinstance asks the metaclass of a Struct, at five times the cost
            refused = deny(caller.cause, identity=caller.whose)
            return Verdict(decision=refused, phase="authn", moments=(started, authenticated))
        phase: Phase = "admission"
        refusal = self._admit(caller, head)
        admitted = clock()
        moments: tuple[int, ...] = (started, authenticated, admitted)
        if refusal is None:
            phase = "authz"
            refusal = self._authorize(caller, head)
            moments = (started, authenticated, admitted, clock())
        if refusal is None:
            return Verdict(decision=_LET_ON[caller,], phase="authz", moments=moments)
        if self.shadow:
            return Verdict(decision=_LET_ON[caller,], phase=phase, moments=moments, would=refusal)
        return Verdict(decision=refusal, phase=phase, moments=moments)

    def _admit(self, caller: Identity, head: RequestHead) -> Decision | None:
        for admission in self.admissions:
            turned = admission.admit(caller, head.stream_id)
            if turned is not None:
                return deny(
                    turned.cause, identity=caller, retry_after=turned.retry_after, detail=turned.detail
                )
        return None

    def _authorize(self, caller: Identity, head: RequestHead) -> Decision | None:
        cause = self.tenants.refuses(caller)
        if cause is not None:
            return deny(cause, identity=caller)
        rule = self.rules.refuses_head(caller, head)
        if rule is not None:
            return deny(Cause.FORBIDDEN, identity=caller, detail=rule)
        headers = head.headers
        if "content-encoding" in headers and headers["content-encoding"].strip().lower() not in _ENCODINGS:
            return deny(Cause.UNSUPPORTED_ENCODING, identity=caller)
        return None


_LET_ON: Final[Kept[*tuple[()], Decision]] = Kept(allow, 4096)
"""One value for all requests of a caller: it says who goes on, and never decides that somebody may."""


def too_late(verdict: Verdict) -> Verdict:
    """The same request when its deadline has passed: a caller that gave up must not be let through."""
    return msgspec.structs.replace(
        verdict, decision=deny(Cause.DEADLINE, identity=verdict.decision.identity), phase="guard", would=None
    )
