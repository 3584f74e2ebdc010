"""What a plan says of a whole body: a request's, or an answer's that is not streamed. Pure; called by sidecar/exchange.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sidecar.checks.authz.tenant import refuses_model
from sidecar.checks.base import CheckSet
from sidecar.checks.child.process import ChildFailed
from sidecar.checks.content import TOO_MANY_TEXTS, inspect_document, inspect_images, too_many_texts
from sidecar.checks.images.sources import is_elsewhere
from sidecar.checks.pipeline import Mark
from sidecar.checks.waf.check import WafCheck
from sidecar.formats.base import UNREADABLE, Document, FormatError
from sidecar.formats.faults import MODEL_ERROR, REPLACED, STACK_TRACE
from sidecar.model.decision import Cause, Decision, deny
from sidecar.model.finding import Action, Finding
from sidecar.model.request import BodyFacts, Identity, RequestHead
from sidecar.plan.plan import Plan
from sidecar.plan.reread import reads_otherwise

_SILENT_QUERIES = {"anthropic": "beta=true"}
"""By protocol, what clients write behind every path and what says nothing."""
_BODYLESS = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
ERROR_REPLACED = Finding(check="answer", kind="error_replaced", action=Action.REDACT)


@dataclass(slots=True, kw_only=True)
class Judgement:
    """`refusal`: enforcing denies. `body`: what goes on in place of the original, None for as it came."""

    refusal: Decision | None = None
    body: bytes | None = field(default=None, repr=False)
    without: tuple[str, ...] = ()
    """Headers that must not go on."""
    content_type: str = ""
    """Of `body`, where it is not the original's."""
    findings: tuple[Finding, ...] = ()
    scanned: int = 0
    """Bytes of text that checks looked at."""
    unscanned: tuple[str, ...] = ()
    """Why something was not looked at."""
    marks: list[Mark] = field(default_factory=list)


def judge_request(
    plan: Plan,
    identity: Identity | None,
    head: RequestHead,
    body: bytes,
    clock_ns: Callable[[], int],
    gone: Callable[[], bool] = lambda: False,
) -> Judgement:
    """Decode, authorize by what the body says, inspect. Without identity (a probe) it ends after decoding.

    Raises Abandoned soon after `gone` says that nobody waits.
    """
    made = Judgement()
    started = clock_ns()
    if len(body) > plan.max_body_bytes:
        made.refusal = deny(Cause.BODY_TOO_LARGE)
        return made
    if body and head.headers.get("content-encoding", "").strip().lower() not in {"", "identity"}:
        made.refusal = deny(Cause.UNSUPPORTED_ENCODING, detail="not inflated")
        return made
    document: Document | None = None
    if body or head.method not in _BODYLESS:
        try:
            document = plan.format.decode_request(head.path, head.headers.get("content-type", ""), body)
        except FormatError as error:
            made.refusal = deny(error.cause, detail=error.detail)
    decoded = clock_ns()
    made.marks.append(("decode", started, decoded))
    if made.refusal is not None or identity is None:
        return made
    facts = document.facts if document is not None else BodyFacts()
    if refuses_model(identity, facts):
        made.refusal = deny(Cause.MODEL_NOT_ALLOWED)
    elif (rule := plan.body_rules.refuses(identity, head, facts)) is not None:
        made.refusal = deny(Cause.FORBIDDEN, detail=rule)
    elif plan.patches and (patch := plan.patches.refuses(body)) is not None:
        made.refusal = deny(Cause.VIRTUAL_PATCH, detail=patch)
    elif head.query and plan.input and head.query != _SILENT_QUERIES.get(plan.format.name):
        # frameworks take arguments from there too, and no check reads them
        made.refusal = deny(Cause.QUERY_NOT_ALLOWED)
    authorized = clock_ns()
    made.marks.append(("body_authz", decoded, authorized))
    if made.refusal is None and plan.waf is not None:
        _ask_firewall(plan.waf, plan, head, body, made)
        made.marks.append(("waf", authorized, clock_ns()))
        authorized = clock_ns()
    if made.refusal is None and document is not None:
        _watch(plan, identity, document, made)
        _inspect_request(plan, head, document, made, gone)
        made.marks.append(("input", authorized, clock_ns()))
    return made


def _ask_firewall(waf: WafCheck, plan: Plan, head: RequestHead, body: bytes, made: Judgement) -> None:
    kind = head.headers.get("content-type", "")
    try:
        verdict = waf.judge(head, body, lambda: plan.format.decode_request(head.path, kind, body))
    except ChildFailed:
        made.refusal = deny(Cause.OVERLOADED, detail="waf", retry_after=1.0)
        return
    made.findings = tuple(dict.fromkeys((*made.findings, *verdict.findings)))
    made.unscanned = tuple(dict.fromkeys((*made.unscanned, *verdict.unscanned)))
    if verdict.refused:
        made.refusal = deny(Cause(verdict.refused))


def _watch(plan: Plan, identity: Identity, document: Document, made: Judgement) -> None:
    """What this caller has asked of the model lately, with this request."""
    caller = f"{plan.policy}\0{identity.tenant}\0{identity.key_id or identity.subject}"
    for check in plan.input.queries:
        found = check.judge(plan.history, caller, document.queries())
        made.findings += tuple(found)
        if any(finding.action is Action.DENY for finding in found):
            made.refusal = deny(Cause.CONTENT_DENIED)


def _inspect_request(
    plan: Plan, head: RequestHead, document: Document, made: Judgement, gone: Callable[[], bool]
) -> None:
    if not plan.input:
        made.unscanned += ("no_input_checks",)
        return
    if too_many_texts(document, plan.input):
        made.unscanned += (TOO_MANY_TEXTS,)
        made.refusal = deny(Cause.MALFORMED_BODY, detail=TOO_MANY_TEXTS)
        return
    try:
        images = inspect_images(document, plan.input, shadow=plan.shadow, gone=gone)
        result = inspect_document(document, plan.input, shadow=plan.shadow, keep_fixed=True, gone=gone)
    except ChildFailed:
        made.refusal = deny(Cause.OVERLOADED, detail="image", retry_after=1.0)
        return
    except FormatError as error:  # an edit that the body can't hold
        made.refusal = deny(error.cause, detail=error.detail)
        return
    made.findings += images.findings + result.findings
    made.scanned = images.scanned_bytes + result.scanned_bytes
    made.unscanned += (*_unseen(document, plan), *result.unseen)
    unreadable = next((kind for kind in made.unscanned if kind in UNREADABLE), "")
    if unreadable:
        made.refusal = deny(Cause.MALFORMED_BODY, detail=unreadable)
    elif result.renames:
        made.refusal = deny(Cause.AMBIGUOUS_BODY, detail="name")
    elif Action.DENY in {images.action, result.action}:
        made.refusal = deny(Cause.CONTENT_DENIED)
    elif images.changed or result.changed:
        body = document.encode()
        if len(body) > plan.max_body_bytes:
            made.refusal = deny(Cause.BODY_TOO_LARGE, detail="edited")
        elif other := reads_otherwise(plan, head, body, document, result, gone):
            made.refusal = deny(Cause.AMBIGUOUS_BODY, detail=other)
        else:
            made.body = body
            if plan.waf is not None:
                _ask_firewall(plan.waf, plan, head, body, made)


def _unseen(document: Document, plan: Plan) -> tuple[str, ...]:
    """Kinds of content that no check looked at. Of pictures, with a check of them: those that are elsewhere."""
    if not plan.input.images:
        return _not_looked_at(document, plan.input)
    images = document.images()
    unseen = {image.kind for image in images if is_elsewhere(image)}
    return tuple(
        kind
        for kind in _not_looked_at(document, plan.input)
        if kind in unseen or all(kind != one.kind for one in images)
    )


def judge_answer(
    plan: Plan,
    path: str,
    content_type: str,
    status: int,
    body: bytes,
    decision_id: str,
    gone: Callable[[], bool] = lambda: False,
) -> Judgement:
    """An answer that is no success keeps its status and gets a body of ours, but for an error of the client's (4xx) in the
    plan's protocol: it is inspected like any other, and must hold no stack trace.
    """
    made = Judgement()
    if not body:
        return made
    if 300 <= status < 400 or status >= 500 or (status >= 400 and STACK_TRACE.search(body)):
        made.unscanned = (MODEL_ERROR,)
        return _replace(plan, made, status, decision_id)
    try:
        document = plan.format.decode_answer(path, content_type, body, status)
        if too_many_texts(document, plan.output):
            raise FormatError(Cause.ANSWER_TOO_LARGE, TOO_MANY_TEXTS)
    except FormatError as error:
        cause = Cause.ANSWER_TOO_LARGE if error.cause is Cause.ANSWER_TOO_LARGE else Cause.ANSWER_MALFORMED
        made.unscanned = (cause.value,)
        if status >= 400:
            return _replace(plan, made, status, decision_id)
        made.refusal = deny(cause, detail=error.detail)
        return made
    result = inspect_document(document, plan.output, shadow=plan.shadow, gone=gone)
    made.findings = result.findings
    made.scanned = result.scanned_bytes
    made.unscanned = _not_looked_at(document, plan.output)
    if result.action is Action.DENY:
        made.refusal = deny(Cause.ANSWER_DENIED)
    elif not plan.shadow and (encoded := document.encode()) is not body:
        made.body = encoded  # edited, or a format took out what no check can read
    return made


def _not_looked_at(document: Document, checks: CheckSet) -> tuple[str, ...]:
    """Why checks did not look at all of a document."""
    unread = not checks.texts and any(part.text and not part.identifier for part in document.texts())
    return (*(("no_text_checks",) if unread else ()), *document.unscanned())


def _replace(plan: Plan, made: Judgement, status: int, decision_id: str) -> Judgement:
    made.content_type, made.body = plan.format.error_body(status, REPLACED, decision_id)
    made.findings = (ERROR_REPLACED,)
    return made
