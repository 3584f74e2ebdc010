"""Answers Envoy's ext_authz Check: who, may they, how much; and what of the body, on routes that send it along.

Where ext_proc follows, the result goes on to it as dynamic metadata. A fault of the guard is a 503 denial, never an
exception: Envoy must not be the one to decide what a crash means.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from bartizan.policy import names
from bartizan.telemetry import metrics
from bartizan.telemetry.logging import get_logger
from sidecar.audit.evidence import (
    action_name,
    count,
    decision_note,
    exchange_record,
    refusal_record,
    time_marks,
)
from sidecar.audit.note import Note
from sidecar.audit.record import Record
from sidecar.checks.pipeline import PHASES, Mark, Verdict, too_late
from sidecar.exchange import Exchange
from sidecar.model.decision import Cause, Decision, deny
from sidecar.model.finding import Action
from sidecar.model.value import Value
from sidecar.plan.current import Current, Snapshot
from sidecar.plan.plan import Plan
from sidecar.plan.probe import Probe, check_probe, proof
from sidecar.wire.check_body import exchange_for, judge_body, rendered, take_body
from sidecar.wire.decision_ids import DecisionIds
from sidecar.wire.engine import Answer, Call
from sidecar.wire.faults import describe
from sidecar.wire.respond import refusal
from sidecar.wire.trace import NO_PARENT, Parent, Spans, attributes_of, below_ingress, parent_of, traceparent
from sidecar.wire.translate_check import (
    Check,
    Handed,
    allow_reply,
    content_reply,
    deny_reply,
    pass_reply,
    read_check,
)

METHOD = "/envoy.service.auth.v3.Authorization/Check"
PATIENCE = 0.75
"""Seconds a call may have waited. A worker further behind turns the newest away, so that those it let in come through."""
_HURRIED = names.CHECK_SECONDS - PATIENCE
log = get_logger()


class _Asked(Value, frozen=True, kw_only=True):
    """A question whose body is still to be judged."""

    check: Check
    snapshot: Snapshot
    marks: tuple[Mark, ...]
    parent: Parent
    decision_id: str
    told: str
    """The place in a trace that the model is told; "" where Envoy has a tracer, which tells it, and where nothing is traced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtAuthz:
    """The handler. `audit` takes records and must not block; `clock` is monotonic seconds."""

    current: Current
    audit: Callable[[Record | Note], None]
    spans: Spans
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    clock_ns: Callable[[], int] = time.time_ns
    new_id: Callable[[], str] = field(default_factory=DecisionIds)

    def __call__(self, call: Call, message: bytes) -> Answer:
        arrived = self.clock()
        decision_id = self.new_id()
        try:
            answer = self._answer(call, message, arrived, decision_id)
        except Exception as error:
            return self._failed(decision_id, error)
        return answer if isinstance(answer, bytes) else self._judged(*answer, call, arrived)

    def _answer(
        self, call: Call, message: bytes, arrived: float, decision_id: str
    ) -> bytes | tuple[_Asked, Exchange]:
        """The reply; or the question and the exchange that its body is for."""
        snapshot = self.current.snapshot
        check = read_check(message)
        parent, told = NO_PARENT, ""
        if check.traced_below:
            if trace_id := check.head.trace_id:
                sampled = trace_id < check.traced_below
                told = traceparent(trace_id, sampled=sampled)
                parent = below_ingress(trace_id, sampled=True) if sampled else NO_PARENT
        elif (parent := parent_of(call.metadata)).trace_id:
            check = check.within(parent.trace_id)
        plan = snapshot.plans.get(check.revision)
        probe = check_probe(snapshot.probe_key, check.probe) if check.probe else None
        if plan is None:
            # A route that names a revision has a policy: a worker that has just started may not have its plan yet.
            cause = Cause.REVISION_UNKNOWN if check.revision else Cause.NO_POLICY
            verdict = Verdict(decision=deny(cause), phase="guard")
        elif probe is not None:
            return self._answer_probe(plan, probe, check, snapshot, decision_id)
        elif call.deadline is not None and 0 < call.deadline < _HURRIED:
            verdict = Verdict(decision=deny(Cause.OVERLOADED), phase="guard")
        else:
            verdict = plan.head.decide(check.head, snapshot.material)
            if call.deadline is not None and self.clock() - arrived >= call.deadline:
                verdict = too_late(verdict)
        decision = verdict.decision
        denied = decision.action is Action.DENY
        refused = refusal(decision, decision_id, plan) if denied else None
        if denied or (parent.sampled and check.body is None):  # else nothing is told yet
            self._trace(decision_id, check, parent, decision, verdict.marks, refused=denied)
        self._record(decision_id, check, plan, snapshot, verdict, denied=denied)
        if refused is not None:
            return deny_reply(refused, decision_id)
        if check.body is not None and plan is not None:
            asked = _Asked(
                check=check,
                snapshot=snapshot,
                marks=verdict.marks,
                parent=parent,
                decision_id=decision_id,
                told=told,
            )
            return asked, exchange_for(check, plan, decision_id, decision.identity, self.clock_ns)
        if not check.content:
            return pass_reply(decision_id, check.revision, decision.identity, told)
        source = check.head.source_address
        return content_reply(decision_id, check.revision, source, decision.identity, told)

    async def _judged(self, asked: _Asked, exchange: Exchange, call: Call, arrived: float) -> bytes:
        try:
            return await self._judge(asked, exchange, call, arrived)
        except Exception as error:
            return self._failed(asked.decision_id, error)

    async def _judge(self, asked: _Asked, exchange: Exchange, call: Call, arrived: float) -> bytes:
        """Judge the body; leave its record, also when Envoy gives up meanwhile."""
        try:
            reply = await judge_body(exchange, asked.check)
            if call.deadline is not None and self.clock() - arrived >= call.deadline:
                (reply,) = exchange.give_up(Cause.DEADLINE)
            answer = rendered(
                reply, exchange, asked.check.revision, asked.snapshot.probe_key, told=asked.told
            )
        except asyncio.CancelledError:
            exchange.abandoned = True
            exchange.trail.leave_unscanned("aborted")
            self._leave(asked, exchange)
            raise
        self._leave(asked, exchange)
        return answer

    def _failed(self, decision_id: str, error: Exception) -> bytes:
        log.error("check_failed", decision_id=decision_id, **describe(error))
        decision = deny(Cause.FAULT)
        record = refusal_record(
            decision,
            decision_id=decision_id,
            time=self.wall(),
            instance_id=self.current.snapshot.instance_id,
        )
        count(record)
        self.audit(record)
        return deny_reply(refusal(decision, decision_id, None), decision_id)

    def _answer_probe(
        self, plan: Plan, probe: Probe, check: Check, snapshot: Snapshot, decision_id: str
    ) -> bytes:
        """Probes carry no credential: only a guard that runs the plan and refuses them can answer with its proof.
        They cost no share of any limit and leave no record.
        """
        if probe.phase == "content" and check.body is not None:
            exchange = exchange_for(check, plan, decision_id, None, self.clock_ns, probe)
            return rendered(take_body(exchange, check), exchange, check.revision, snapshot.probe_key)
        if probe.phase == "content":
            return allow_reply(Handed(decision_id=decision_id, revision=check.revision, probe=probe))
        decision = replace_admissions(plan).head.decide(check.head, snapshot.material).decision
        if not decision.denied:
            return deny_reply(refusal(deny(Cause.FAULT), decision_id, plan, status=500), decision_id)
        said = proof(snapshot.probe_key, probe, plan.hash)
        return deny_reply(refusal(decision, decision_id, plan, proof=said), decision_id)

    def _record(
        self,
        decision_id: str,
        check: Check,
        plan: Plan | None,
        snapshot: Snapshot,
        verdict: Verdict,
        *,
        denied: bool,
    ) -> None:
        """Of the head; where the body is still to be judged and nothing is told yet, the exchange's record says all."""
        decision, would = verdict.decision, verdict.would
        goes_on = (check.content or check.body is not None) and not denied
        if len(verdict.moments) > len(PHASES):
            metrics.PHASE_SECONDS.follow(PHASES, verdict.moments)
        else:
            time_marks(verdict.marks)
        if goes_on and would is None:
            return
        note = decision_note(
            would or decision,
            # the exchange will leave a record of the plain id
            decision_id=decision_id + names.RECORD_HEAD if goes_on else decision_id,
            time=self.wall(),
            instance_id=snapshot.instance_id,
            plan=plan,
            revision=check.revision,
            head=check.head,
            phase=verdict.phase,
            status=decision.status if denied else 0,
            identity=decision.identity,
            shadow=would is not None,
        )
        count(note.case.record)
        self.audit(note)

    def _leave(self, asked: _Asked, exchange: Exchange) -> None:
        """Record, metrics and span of a request whose body was judged here."""
        record = exchange_record(
            exchange,
            decision_id=asked.decision_id,
            time=self.wall(),
            instance_id=asked.snapshot.instance_id,
            revision=asked.check.revision,
        )
        count(record)
        time_marks(exchange.trail.marks)
        self.audit(record)
        marks = (*asked.marks, *exchange.trail.marks)
        decision = exchange.decision
        refused = decision.denied and not exchange.shadowed
        self._trace(asked.decision_id, asked.check, asked.parent, decision, marks, refused=refused)

    def _trace(
        self,
        decision_id: str,
        check: Check,
        parent: Parent,
        decision: Decision,
        marks: Sequence[Mark],
        *,
        refused: bool,
    ) -> None:
        if self.spans.wants(parent, always=refused):
            if not parent.trace_id:
                parent = below_ingress(check.head.trace_id, sampled=False)
            tenant = None if decision.identity is None else decision.identity.tenant
            said = attributes_of(check.revision, decision.cause.value, action_name(decision.action), tenant)
            self.spans.emit("bartizan.check", parent, marks, decision_id, said)


def replace_admissions(plan: Plan) -> Plan:
    """The same plan without limits, for probes."""
    return replace(plan, head=replace(plan.head, admissions=()))
