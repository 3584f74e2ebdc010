"""Answers Envoy's ext_proc Process: one stream per exchange on a content route, driven through sidecar/exchange.py.

A stream never ends with status OK before its last answer: Envoy would pass the rest unscanned. Client aborts, faults
and violations therefore end it with another status, which Envoy answers by failing closed.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from bartizan import tasks
from bartizan.telemetry.logging import get_logger
from protos.gen.envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest
from sidecar.audit.evidence import count, exchange_record, refusal_record, time_marks
from sidecar.audit.record import Record
from sidecar.checks.pipeline import Mark
from sidecar.exchange import Exchange
from sidecar.model.decision import Cause, deny
from sidecar.model.events import AnswerData, Event, Refuse, Reply
from sidecar.model.request import trace_of
from sidecar.model.stage import Stage
from sidecar.plan.current import Current, Snapshot
from sidecar.plan.plan import Plan
from sidecar.plan.probe import proof
from sidecar.wire.engine import Call, CallFailed
from sidecar.wire.ext_proc_body import PieceReader, piece_message
from sidecar.wire.faults import describe
from sidecar.wire.offload import takes_long
from sidecar.wire.respond import refusal
from sidecar.wire.trace import Parent, Spans, attributes_of, below_ingress, parent_of
from sidecar.wire.translate import handed_on, plan_named, read_event, reply_message, request_id
from sidecar.wire.translate_check import Handed

METHOD = "/envoy.service.ext_proc.v3.ExternalProcessor/Process"
ANSWER_SECONDS = 300.0
"""A model has this long for an answer that is withheld: Envoy has no timer of its own there."""
MOST_HELD = 256 * 1024 * 1024
_WITHHELD = Stage.WITHHELD
_CANCELLED, _INVALID_ARGUMENT, _INTERNAL = 1, 3, 13
log = get_logger()


@dataclass(slots=True)
class Holdings:
    """Bytes of all withheld answers of this worker, so that many slow large ones can't fill its memory."""

    most: int = MOST_HELD
    now: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtProc:
    """The handler; see ExtAuthz for its parts."""

    current: Current
    audit: Callable[[Record], None]
    spans: Spans
    wall: Callable[[], float] = time.time
    clock_ns: Callable[[], int] = time.time_ns
    answer_seconds: float = ANSWER_SECONDS
    holdings: Holdings = field(default_factory=Holdings)

    async def __call__(self, call: Call, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        session = _Session(self, parent_of(call.metadata), self.current.snapshot)
        source = aiter(messages)
        try:
            while True:
                try:
                    patience = session.patience()
                    message = await (anext(source) if patience is None else _within(patience, source))
                except StopAsyncIteration:
                    break
                except TimeoutError:
                    yield session.refuse(Cause.DEADLINE)
                    return
                answer = session.answer(message)
                for reply in answer if isinstance(answer, list) else await session.answer_later(*answer):
                    yield reply
                if session.refused:
                    return
            if not session.complete:
                raise CallFailed(_CANCELLED, "the exchange ended before its last answer")
        finally:
            session.close()


async def _within(patience: float, source: AsyncIterator[bytes]) -> bytes:
    """The next message; raises TimeoutError after `patience` seconds."""
    await asyncio.sleep(0)  # makes this a task, which a timeout asks for
    async with tasks.timeout(patience):
        return await anext(source)


class _Session:
    """One stream: translates, keeps the exchange, leaves the evidence."""

    def __init__(self, owner: ExtProc, parent: Parent, snapshot: Snapshot) -> None:
        self._owner = owner
        self._parent = parent
        self._snapshot = snapshot
        self._exchange: Exchange | None = None
        self._pieces = PieceReader()
        self._revision = ""
        self._decision_id = ""
        self._withheld_until = 0.0
        self._recorded = False
        self._held = 0
        self.refused = False

    @property
    def complete(self) -> bool:
        return self._exchange is not None and self._exchange.complete

    def patience(self) -> float | None:
        """Seconds to wait for the next message while an answer is withheld; None: as long as Envoy likes."""
        exchange = self._exchange
        if exchange is None or exchange.stage is not _WITHHELD:
            return None
        if not self._withheld_until:
            self._withheld_until = time.monotonic() + self._owner.answer_seconds
        return max(0.0, self._withheld_until - time.monotonic())

    def answer(self, message: bytes) -> list[bytes] | tuple[Exchange, Event]:
        """The replies to one message; or what `answer_later` shall judge, where that takes long."""
        try:
            exchange = self._exchange
            event: Event | None = self._pieces.read(message)
            if exchange is None or event is None:
                opened = self._open(request := ProcessingRequest.FromString(message))
                if isinstance(opened, Cause):
                    return [self.refuse(opened)]
                exchange, event = opened, read_event(request)
                self._pieces.learn(request, message)
            if event is None:
                raise CallFailed(_INVALID_ARGUMENT, "unknown kind of message")
            if takes_long(exchange, event):
                return exchange, event
            return self._replies(exchange, exchange.take(event))
        except Exception as error:
            return self._failed(error)

    async def answer_later(self, exchange: Exchange, event: Event) -> list[bytes]:
        """The replies to an event that is judged in a thread."""
        try:
            return self._replies(exchange, await asyncio.to_thread(exchange.take, event))
        except Exception as error:
            return self._failed(error)

    def _failed(self, error: Exception) -> list[bytes]:
        """A fault refuses while nothing is out, else it ends the RPC and so the answer."""
        log.error("process_failed", decision_id=self._decision_id, **describe(error))
        stage = self._exchange.stage if self._exchange else Stage.START
        if stage in {Stage.STREAMED, Stage.PASSED, Stage.DONE, Stage.REFUSED}:
            raise CallFailed(_INTERNAL, "internal error") from error
        return [self.refuse(Cause.FAULT)]

    def _replies(self, exchange: Exchange, replies: Sequence[Reply]) -> list[bytes]:
        """As Envoy takes them; after the last one the exchange is recorded."""
        if (exchange.held or self._held) and not self._hold(len(exchange.held)):
            return [self.refuse(Cause.OVERLOADED)]
        rendered = [self._render(reply) for reply in replies]
        if exchange.complete:
            self.record()
        return rendered

    def _hold(self, held: int) -> bool:
        """Count what this exchange withholds; False when all together are too much."""
        if held == self._held:
            return True
        holdings = self._owner.holdings
        grown = held > self._held
        holdings.now += held - self._held
        self._held = held
        return not (grown and holdings.now > holdings.most)

    def _open(self, request: ProcessingRequest) -> Exchange | Cause:
        """The stream's exchange; the first message ties it to the plan that its route names and to what ext_authz said."""
        if self._exchange is not None:
            return self._exchange
        self._revision = plan_named(request)
        handed = handed_on(request)
        if not self._parent.trace_id:
            traced = handed is not None and handed.traced
            self._parent = below_ingress(trace_of(request_id(request)), sampled=traced)
        plan = self._snapshot.plans.get(self._revision)
        self._decision_id = handed.decision_id if handed else secrets.token_hex(16)
        if not self._revision or handed is None or handed.revision != self._revision:
            return Cause.CONTEXT_MISSING
        if plan is None:
            return Cause.REVISION_UNKNOWN
        if handed.identity is None and handed.probe is None:
            return Cause.CONTEXT_MISSING
        self._exchange = self._exchange_for(plan, handed)
        return self._exchange

    def _exchange_for(self, plan: Plan, handed: Handed) -> Exchange:
        return Exchange(
            plan,
            handed.identity,
            handed.decision_id,
            source_address=handed.source_address,
            trace_id=self._parent.trace_id,
            clock_ns=self._owner.clock_ns,
            probe=handed.probe,
        )

    def _render(self, reply: Reply) -> bytes:
        if isinstance(reply, AnswerData):
            return piece_message(reply)
        if not isinstance(reply, Refuse):
            return reply_message(reply)
        self.refused = True
        exchange = self._exchange
        plan = exchange.plan if exchange else None
        probe = exchange.probe if exchange and reply.proves else None
        said = proof(self._snapshot.probe_key, probe, exchange.plan.hash) if exchange and probe else ""
        refused = refusal(reply.decision, self._decision_id, plan, proof=said, status=reply.status)
        return reply_message(reply, refused, f"ext_proc_bartizan_{reply.decision.cause.value}")

    def refuse(self, cause: Cause) -> bytes:
        """Refuse outside of the exchange's own course: a fault, a deadline, a missing context."""
        if self._exchange is None:
            self.refused = True
            self._decision_id = self._decision_id or secrets.token_hex(16)
            decision = deny(cause)
            self._leave(
                refusal_record(
                    decision,
                    decision_id=self._decision_id,
                    time=self._owner.wall(),
                    instance_id=self._snapshot.instance_id,
                    revision=self._revision,
                    trace_id=self._parent.trace_id,
                )
            )
            refused = refusal(decision, self._decision_id, None)
            return reply_message(
                Refuse(decision=decision), refused, f"ext_proc_bartizan_{decision.cause.value}"
            )
        (reply,) = self._exchange.give_up(cause)
        rendered = self._render(reply)
        self.record()
        return rendered

    def close(self) -> None:
        """The RPC is over: an exchange that did not come to its end still leaves its record."""
        self._hold(0)
        exchange = self._exchange
        if exchange is None:
            return
        exchange.abandoned = True
        if not self._recorded and not exchange.complete:
            exchange.trail.leave_unscanned("no_answer_seen" if exchange.stage is Stage.MODEL else "aborted")
        self.record()

    def record(self) -> None:
        """Leave audit record, metrics and spans, once. Probes leave none."""
        exchange = self._exchange
        if exchange is None or self._recorded:
            return
        self._recorded = True
        if exchange.probe is not None:
            return
        record = exchange_record(
            exchange,
            decision_id=self._decision_id,
            time=self._owner.wall(),
            instance_id=self._snapshot.instance_id,
            revision=self._revision,
        )
        self._leave(record, exchange.trail.marks)
        if self._owner.spans.wants(
            self._parent, always=record.action in {"deny", "cut"} and not record.shadow
        ):
            said = attributes_of(self._revision, record.cause, record.action, record.tenant)
            marks = exchange.trail.marks
            self._owner.spans.emit("bartizan.process", self._parent, marks, self._decision_id, said)

    def _leave(self, record: Record, marks: Sequence[Mark] = ()) -> None:
        count(record)
        time_marks(marks)
        self._owner.audit(record)
