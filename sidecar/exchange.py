"""Sans-I/O state of one HTTP exchange on a content route: events in, replies out, evidence at the end.

The request is decoded, authorized by what its body says, then inspected. The answer of a JSON model is withheld until
it is judged; a stream flows through the stream inspector; an answer of another type is refused at its headers. Answers
with status >= 400 keep their status: a body in the plan's protocol is inspected like any other, one that is not is
replaced by an error body at its first byte, so that no stack trace leaks.
Driven by wire/ext_proc.py; envoy-independent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from bartizan.errors import ProtocolViolation
from sidecar.checks.pipeline import Phase
from sidecar.checks.stream import StreamInspector
from sidecar.model.decision import Cause, Decision, deny
from sidecar.model.events import (
    AnswerBody,
    AnswerHeaders,
    AnswerTrailers,
    Event,
    PassAnswerHeaders,
    PassAnswerTrailers,
    PassRequestBody,
    PassRequestHeaders,
    PassRequestTrailers,
    Refuse,
    Reply,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
    in_pieces,
)
from sidecar.model.finding import Action
from sidecar.model.request import Identity, RequestHead
from sidecar.model.stage import Stage
from sidecar.plan.answer_headers import judge_headers
from sidecar.plan.judge import ERROR_REPLACED, judge_answer, judge_request
from sidecar.plan.plan import Plan
from sidecar.plan.probe import Probe, probe_answer
from sidecar.plan.trail import Trail

MAX_ANSWER = 16 * 1024 * 1024
"""Bytes of an answer that is withheld; a longer one is refused (502)."""
# asked for every piece of a stream: by identity, as an enum's hash is Python, and here, as an attribute of its class costs
# as much as a call
_MODEL, _STREAMED, _PASSED = Stage.MODEL, Stage.STREAMED, Stage.PASSED
_DONE, _REFUSED = Stage.DONE, Stage.REFUSED
_OF_ENVOY = {408: Cause.DEADLINE, 413: Cause.BODY_TOO_LARGE, 504: Cause.DEADLINE}


class Exchange:
    """One exchange. `take` never awaits; heavy bodies may be given to it in a thread, one call at a time."""

    def __init__(
        self,
        plan: Plan,
        identity: Identity | None,
        decision_id: str,
        *,
        source_address: str,
        trace_id: str,
        clock_ns: Callable[[], int],
        probe: Probe | None = None,
    ) -> None:
        self.plan = plan.for_exchange(identity.tenant if identity else "")
        self.identity = identity
        self.decision_id = decision_id
        self.probe = probe
        self.stage = Stage.START
        self.phase: Phase = "request"
        self.head = RequestHead(
            stream_id="", method="", path="", headers={}, source_address=source_address, trace_id=trace_id
        )
        self.trail = Trail()
        self.status = 0
        """What the client got: the model's status, or the refusal's. 0: no answer was seen."""
        self.would: Decision | None = None
        """In shadow mode: the first refusal that enforcing had made."""
        self._final: Decision | None = None
        self.abandoned = False
        """Set when nobody waits: a judgement in another thread ends soon, by Abandoned."""
        self._clock_ns = clock_ns
        self._answer_type = ""
        self._headers = PassAnswerHeaders()
        self._foreign = False  # the answer's type is none of the plan's protocol
        self.held = bytearray()
        """A withheld answer so far."""
        self._new_body: bytes | None = None
        self._inspector: StreamInspector | None = None

    @property
    def complete(self) -> bool:
        """Whether the last answer was given: only then may the RPC end with status OK."""
        stage = self.stage
        return stage is _DONE or stage is _REFUSED or (stage is _MODEL and not self.plan.output)

    @property
    def decision(self) -> Decision:
        """The outcome so far; in shadow mode what enforcing had said."""
        settled = self._final or self.would or self.trail.passed
        return msgspec.structs.replace(settled, identity=self.identity, findings=tuple(self.trail.findings))

    @property
    def shadowed(self) -> bool:
        """Whether shadow mode let pass something that would have been blocked or changed."""
        return self.plan.shadow and (self.would is not None or self.trail.strongest >= Action.REDACT)

    def take(self, event: Event) -> Sequence[Reply]:
        """Advance by one event. Raises ProtocolViolation for one that can't come now."""
        if isinstance(event, AnswerBody) and self.stage is _STREAMED:  # as most often
            return self._stream(event.data, end=event.end)
        if isinstance(event, AnswerBody) and self.stage is _PASSED:
            self.trail.response_bytes += len(event.data)
            return self._send(event.data, end=event.end)
        match event, self.stage:
            case RequestHeaders(), Stage.START:
                return self._request_headers(event)
            case RequestBody(), Stage.REQUEST_BODY:
                return self._request_body(event.data)
            case RequestTrailers(), Stage.REQUEST_BODY:
                return self._request_body(b"", trailers=True)  # Envoy sends no message for an empty body
            case RequestTrailers(), Stage.MODEL:
                return [PassRequestTrailers()]
            case AnswerHeaders(), Stage.MODEL if self.plan.output:
                self.phase = "response"
                return self._answer_headers(event)
            case AnswerHeaders(status=status), Stage.REQUEST_BODY if status >= 400:
                # Envoy gave up before the body was judged. Nothing is let out but its status.
                return self._refuse(deny(_OF_ENVOY.get(status, Cause.FAULT)), status)
            case AnswerBody(), Stage.WITHHELD:
                return self._withhold(event)
            case AnswerTrailers(), Stage.WITHHELD:
                return self._judge(trailers=True)
            case AnswerTrailers(), Stage.STREAMED:
                replies = self._stream(b"", end=True, trailers=True)
                return replies if self._final else [*replies, PassAnswerTrailers()]
            case AnswerTrailers(), Stage.PASSED:
                self.stage = Stage.DONE
                return [PassAnswerTrailers()]
            case ((AnswerBody() | AnswerTrailers()), (Stage.DONE | Stage.REFUSED)):
                return []  # the rest of an answer that was cut
            case _:
                raise ProtocolViolation(f"{type(event).__name__} at stage {self.stage.name}")

    def give_up(self, cause: Cause) -> Sequence[Reply]:
        """A fault or a deadline while nothing of the answer is out: refuse."""
        return self._refuse(deny(cause))

    def _request_headers(self, event: RequestHeaders) -> Sequence[Reply]:
        line = {name: getattr(event, name) for name in ("method", "path", "query", "target", "headers")}
        self.head = msgspec.structs.replace(self.head, **line)
        if event.end:
            refused = self._request(b"")
            if refused:
                return refused
            self.stage = Stage.MODEL
        else:
            self.stage = Stage.REQUEST_BODY
        return [PassRequestHeaders(inspect_answer=bool(self.plan.output))]

    def _request_body(self, body: bytes, *, trailers: bool = False) -> Sequence[Reply]:
        refused = self._request(body)
        if refused:
            return refused
        self.stage = Stage.MODEL
        return [PassRequestTrailers() if trailers else PassRequestBody(data=self._new_body)]

    def _request(self, body: bytes) -> Sequence[Reply]:
        """Judge the request; the new body is kept in `_new_body`. Empty: it goes on."""
        self.trail.request_bytes = len(body)
        judged = judge_request(
            self.plan, self.identity, self.head, body, self._clock_ns, lambda: self.abandoned
        )
        self.trail.learn(judged, "request")
        self.trail.request_scanned = judged.scanned
        refusal = judged.refusal
        if self.probe is not None:
            self.stage = Stage.REFUSED
            return [probe_answer(refusal, opaque=self.plan.format.name == "opaque")]
        if self.identity is None:
            return self._refuse(deny(Cause.CONTEXT_MISSING))
        if refusal is not None and self.plan.shadow and refusal.cause is not Cause.BODY_TOO_LARGE:  # as Envoy
            self.would = refusal
            return []
        self._new_body = None if self.plan.shadow else judged.body
        return [] if refusal is None else self._refuse(refusal)

    def _answer_headers(self, event: AnswerHeaders) -> Sequence[Reply]:
        self.status = event.status
        self._answer_type = event.headers.get("content-type", "")
        judged = judge_headers(self.plan, event.headers)
        self.trail.learn(judged, "response")
        if judged.refusal is not None and not self.plan.shadow:
            return self._refuse(judged.refusal)
        self.would = self.would or judged.refusal
        self._headers = PassAnswerHeaders(without=() if self.plan.shadow else judged.without)
        if event.end or event.of_envoy:
            self.stage = Stage.DONE if event.end else Stage.PASSED
            return [self._headers]
        if event.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
            return self._unreadable(deny(Cause.ANSWER_ENCODED))
        self._foreign = not self.plan.format.reads_answer(self.head.path, self._answer_type, event.status)
        if self._foreign and event.status < 400:  # not withheld: a stream of another protocol may never end
            return self._unreadable(deny(Cause.ANSWER_MALFORMED, detail="not the protocol's content type"))
        if self._foreign and self.plan.shadow:
            self.trail.find((ERROR_REPLACED,), "response")
            return self._unreadable(None)
        streams = event.status < 300
        stream = self.plan.format.answer_stream(self.head.path, self._answer_type) if streams else None
        if stream is None:
            self.stage = Stage.WITHHELD
            return []
        self._inspector = StreamInspector(
            stream, self.plan.output, decision_id=self.decision_id, shadow=self.plan.shadow
        )
        self.stage = Stage.STREAMED
        return [self._headers]

    def _unreadable(self, refusal: Decision | None) -> Sequence[Reply]:
        """The answer can't be checked. None: enforcing had replaced it."""
        if refusal is not None and not self.plan.shadow:
            return self._refuse(refusal)
        self.would = self.would or refusal
        self.trail.leave_unscanned((refusal.cause if refusal else Cause.ANSWER_MALFORMED).value)
        self.stage = Stage.PASSED
        return [self._headers]

    def _withhold(self, event: AnswerBody) -> Sequence[Reply]:
        self.held += event.data
        if self._foreign and self.held:
            return self._judge(trailers=False)  # an error that is replaced, however long it is
        if len(self.held) > MAX_ANSWER:
            self.trail.response_bytes = len(self.held)
            held, self.held = bytes(self.held), bytearray()
            replies = self._unreadable(deny(Cause.ANSWER_TOO_LARGE))
            return replies if self._final else [*replies, *self._send(held, end=event.end)]
        return self._judge(trailers=False) if event.end else []

    def _judge(self, *, trailers: bool) -> Sequence[Reply]:
        """The whole answer is here: release it, changed or not, or refuse it."""
        body, self.held = bytes(self.held), bytearray()
        self.trail.response_bytes = len(body)
        started = self._clock_ns()
        line = (self.head.path, self._answer_type, self.status)
        judged = judge_answer(self.plan, *line, body, self.decision_id, lambda: self.abandoned)
        self.trail.learn(judged, "response")
        self.trail.mark("output", started, self._clock_ns())
        self.trail.response_scanned = judged.scanned
        headers = self._headers
        if self.plan.shadow:
            self.would = self.would or judged.refusal
        elif judged.refusal is not None:
            return self._refuse(judged.refusal)
        elif judged.body is not None:
            headers, body = msgspec.structs.replace(headers, content_type=judged.content_type), judged.body
        replies: list[Reply] = [headers, *self._send(body, end=not trailers)]
        if trailers:
            self.stage = Stage.DONE
            replies.append(PassAnswerTrailers())
        return replies

    def _stream(self, data: bytes, *, end: bool, trailers: bool = False) -> Sequence[Reply]:
        inspector, trail, clock_ns = self._inspector, self.trail, self._clock_ns
        if inspector is None:
            raise ProtocolViolation("no stream")
        started = clock_ns()
        trail.response_bytes += len(data)
        output = inspector.feed(data, end=end)
        trail.mark("output", started, clock_ns())
        trail.response_scanned = inspector.scanned_bytes
        if output.findings:
            trail.find(output.findings, "response")
            if self.plan.shadow and any(finding.action >= Action.CUT for finding in output.findings):
                self.would = self.would or Decision(cause=Cause.ANSWER_CUT, action=Action.CUT)
        if inspector.unscanned:
            trail.leave_unscanned(*inspector.unscanned)
        if output.cut:
            self._final = Decision(cause=output.cause or Cause.ANSWER_CUT, action=Action.CUT)
            return self._send(output.data, end=True, cut=True)
        if end and inspector.scanned_bytes < inspector.total_bytes:
            self.trail.leave_unscanned("answer_unreadable" if self.plan.output.texts else "no_text_checks")
        if trailers:
            self.stage = Stage.DONE
        return self._send(output.data, end=end and not trailers)

    def _send(self, data: bytes, *, end: bool, cut: bool = False) -> Sequence[Reply]:
        if end:
            self.stage = Stage.DONE
        return in_pieces(data, end=end, cut=cut)

    def _refuse(self, refusal: Decision, status: int | None = None) -> Sequence[Reply]:
        self.held.clear()
        self._final = refusal
        self.stage = Stage.REFUSED
        self.status = refusal.status if status is None else status
        return [Refuse(decision=refusal, status=status)]
