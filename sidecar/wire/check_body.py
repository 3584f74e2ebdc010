"""The body that came with an ext_authz call: judged by the same exchange as in ext_proc, whose one answer says it all.

The compiler sends bodies this way only where no check changes one and none reads the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bartizan.errors import ProtocolViolation
from sidecar.exchange import Exchange
from sidecar.model.events import PassRequestBody, Refuse, Reply, RequestBody, RequestHeaders
from sidecar.model.request import Identity
from sidecar.plan.plan import Plan
from sidecar.plan.probe import Probe, proof
from sidecar.wire.offload import heavy
from sidecar.wire.respond import refusal
from sidecar.wire.translate_check import Check, deny_reply, pass_reply


def exchange_for(
    check: Check,
    plan: Plan,
    decision_id: str,
    identity: Identity | None,
    clock_ns: Callable[[], int],
    probe: Probe | None = None,
) -> Exchange:
    """What the body is judged by, for a caller whose head was let through."""
    return Exchange(
        plan,
        identity,
        decision_id,
        source_address=check.head.source_address,
        trace_id=check.head.trace_id,
        clock_ns=clock_ns,
        probe=probe,
    )


async def judge_body(exchange: Exchange, check: Check) -> Reply:
    """The exchange's answer; a heavy body is judged in a thread. Raises ProtocolViolation for half a body."""
    if heavy(check.body or b""):
        return await asyncio.to_thread(take_body, exchange, check)
    return take_body(exchange, check)


def take_body(exchange: Exchange, check: Check) -> Reply:
    """`judge_body` here and now."""
    head, body = check.head, check.body or b""
    if head.headers.get("content-length") != str(len(body)):
        # Envoy was told to send whole bodies as bytes; anything else here could let text past the checks
        raise ProtocolViolation("the body of a check is not as long as announced")
    exchange.take(
        RequestHeaders(method=head.method, path=head.path, headers=head.headers, query=head.query, end=False)
    )
    (reply,) = exchange.take(RequestBody(data=body))
    return reply


def rendered(reply: Reply, exchange: Exchange, revision: str, probe_key: bytes, *, told: str = "") -> bytes:
    """Envoy's message for the exchange's answer; `told` is the place in a trace that the model is told. Raises ProtocolViolation for a changed body, which it can't carry."""
    decision_id = exchange.decision_id
    match reply:
        case Refuse():
            said = (
                proof(probe_key, exchange.probe, exchange.plan.hash)
                if reply.proves and exchange.probe
                else ""
            )
            refused = refusal(reply.decision, decision_id, exchange.plan, proof=said, status=reply.status)
            return deny_reply(refused, decision_id)
        case PassRequestBody(data=None):
            return pass_reply(decision_id, revision, exchange.identity, told)
        case _:
            raise ProtocolViolation("a check changed a body that came with the ext_authz call")
