"""Answers Envoy's ext_authz Check: who, may they, how much. One unary call, headers only.

The result goes on to ext_proc as dynamic metadata. A fault of the guard is a 503 denial, never an exception: Envoy
must not be the one to decide what a crash means.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from bartizan.policy import names
from bartizan.telemetry.logging import get_logger
from sidecar.audit.evidence import count, decision_record, observe, refusal_record
from sidecar.audit.record import Record
from sidecar.checks.pipeline import Verdict, too_late
from sidecar.model.decision import Cause, Decision, deny
from sidecar.plan.current import Current, Snapshot
from sidecar.plan.plan import Plan
from sidecar.plan.probe import Probe, check_probe, proof
from sidecar.wire.decision_ids import DecisionIds
from sidecar.wire.engine import Call
from sidecar.wire.faults import describe
from sidecar.wire.respond import refusal
from sidecar.wire.trace import Parent, Spans, parent_of
from sidecar.wire.translate import Check, Handed, allow_reply, deny_reply, read_check

METHOD = "/envoy.service.auth.v3.Authorization/Check"
PATIENCE = 0.75
"""Seconds a call may have waited. A worker further behind turns the newest away, so that those it let in come through."""
log = get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtAuthz:
    """The handler. `audit` takes records and must not block; `clock` is monotonic seconds."""

    current: Current
    audit: Callable[[Record], None]
    spans: Spans
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    new_id: Callable[[], str] = field(default_factory=DecisionIds)

    async def __call__(self, call: Call, message: bytes) -> bytes:
        arrived = self.clock()
        decision_id = self.new_id()
        try:
            return self._answer(call, message, arrived, decision_id)
        except Exception as error:
            log.error("check_failed", decision_id=decision_id, **describe(error))
            return self._fault(decision_id)

    def _answer(self, call: Call, message: bytes, arrived: float, decision_id: str) -> bytes:
        snapshot = self.current.snapshot
        parent = parent_of(call.metadata)
        check = read_check(message, parent.trace_id)
        plan = snapshot.plans.get(check.revision)
        probe = check_probe(snapshot.probe_key, check.probe)
        if plan is None:
            # A route that names a revision has a policy: a worker that has just started may not have its plan yet.
            cause = Cause.REVISION_UNKNOWN if check.revision else Cause.NO_POLICY
            verdict = Verdict(decision=deny(cause), phase="guard")
        elif probe is not None:
            return self._answer_probe(plan, probe, check, snapshot, decision_id)
        elif call.deadline is not None and 0 < call.deadline < names.CHECK_SECONDS - PATIENCE:
            verdict = Verdict(decision=deny(Cause.OVERLOADED), phase="guard")
        else:
            verdict = plan.head.decide(check.head, snapshot.material)
            if call.deadline is not None and self.clock() - arrived >= call.deadline:
                verdict = too_late(verdict)
        decision = verdict.decision
        refused = refusal(decision, decision_id, plan) if decision.denied else None
        self._record(check, plan, snapshot, verdict, parent, decision_id)
        if refused is not None:
            return deny_reply(refused, decision_id)
        if not check.content:
            return allow_reply(Handed(decision_id=decision_id, revision=check.revision))
        return allow_reply(
            Handed(
                decision_id=decision_id,
                revision=check.revision,
                source_address=check.head.source_address,
                identity=decision.identity,
            )
        )

    def _fault(self, decision_id: str) -> bytes:
        decision = deny(Cause.FAULT)
        record = refusal_record(
            decision,
            decision_id=decision_id,
            time=self.wall(),
            instance_id=self.current.snapshot.instance_id,
        )
        count(record, ())
        self.audit(record)
        return deny_reply(refusal(decision, decision_id, None), decision_id)

    def _answer_probe(
        self, plan: Plan, probe: Probe, check: Check, snapshot: Snapshot, decision_id: str
    ) -> bytes:
        """Probes carry no credential: only a guard that runs the plan and refuses them can answer with its proof.
        They cost no share of any limit and leave no record.
        """
        if probe.phase == "content":
            return allow_reply(Handed(decision_id=decision_id, revision=check.revision, probe=probe))
        decision = replace_admissions(plan).head.decide(check.head, snapshot.material).decision
        if not decision.denied:
            return deny_reply(refusal(deny(Cause.FAULT), decision_id, plan, status=500), decision_id)
        said = proof(snapshot.probe_key, probe, plan.hash)
        return deny_reply(refusal(decision, decision_id, plan, proof=said), decision_id)

    def _record(
        self,
        check: Check,
        plan: Plan | None,
        snapshot: Snapshot,
        verdict: Verdict,
        parent: Parent,
        decision_id: str,
    ) -> None:
        decision = verdict.decision
        if self.spans.wants(parent, always=decision.denied):
            attributes = _attributes(decision_id, check.revision, decision)
            self.spans.emit("bartizan.check", parent, verdict.marks, attributes)
        if check.content and not decision.denied and verdict.would is None:
            observe(verdict.marks)
            return  # the exchange's own record, at its end, says everything
        evidence = verdict.would or decision
        record = decision_record(
            # the exchange will leave a record of the plain id
            decision_id=decision_id + (names.RECORD_HEAD if check.content and not decision.denied else ""),
            time=self.wall(),
            instance_id=snapshot.instance_id,
            plan=plan,
            revision=check.revision,
            head=check.head,
            phase=verdict.phase,
            decision=evidence,
            status=decision.status if decision.denied else 0,
            identity=decision.identity,
            shadow=verdict.would is not None,
        )
        count(record, verdict.marks)
        self.audit(record)


def replace_admissions(plan: Plan) -> Plan:
    """The same plan without limits, for probes."""
    return replace(plan, head=replace(plan.head, admissions=()))


def _attributes(decision_id: str, revision: str, decision: Decision) -> dict[str, str | int | bool]:
    attributes: dict[str, str | int | bool] = {
        "bartizan.decision_id": decision_id,
        "bartizan.revision": revision,
        "bartizan.cause": decision.cause.value,
        "bartizan.action": decision.action.name.lower(),
    }
    if decision.identity is not None:
        attributes["bartizan.tenant"] = decision.identity.tenant
    return attributes
