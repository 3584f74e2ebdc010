"""Envoy's ext_authz messages <-> the guard's own types, both directions, pure; and what ext_authz hands on to ext_proc."""

from __future__ import annotations

import secrets
from functools import lru_cache
from typing import ClassVar

import msgspec
from google.protobuf import struct_pb2

from bartizan.policy import names
from protos.gen.envoy.config.core.v3 import base_pb2
from protos.gen.envoy.service.auth.v3 import external_auth_pb2 as auth
from sidecar.model.request import REQUEST_ID, Identity, RequestHead, trace_of
from sidecar.model.value import Value
from sidecar.plan.probe import Probe
from sidecar.wire.question import read_question
from sidecar.wire.respond import Refusal

_OK = 0
_PERMISSION_DENIED = 7
_CREDENTIALS = ("authorization", "x-api-key")
# Nobody can know it, and so nothing else in a reply can hold it.
_ANY_DECISION = secrets.token_hex(16).encode()
_TRACEPARENT, _SAMPLED = "traceparent", "-01"
_PLACE = len("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7")
_ANY_PLACE = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}".encode()


class Check(Value, frozen=True, kw_only=True):
    """One ext_authz question."""

    hidden: ClassVar[frozenset[str]] = frozenset({"probe", "body"})

    head: RequestHead
    revision: str
    """The plan id that the route names."""
    content: bool
    """Whether the route also goes through ext_proc."""
    body: bytes | None = None
    """The whole body, on routes where the check judges it too."""
    probe: str | None
    trace_steps: int = 0
    """Of names.TRACE_STEPS requests so many are traced, as the route says; 0 where Envoy has a tracer of its own."""


class Handed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What ext_authz hands on to ext_proc in dynamic metadata. `identity` is None for probes."""

    decision_id: str
    revision: str
    source_address: str = ""
    identity: Identity | None = None
    probe: Probe | None = None
    traced: bool = False
    tenant: str = ""
    key_id: str = ""
    """Of the caller, where nobody asks for the identity: for records of what Envoy then does (sidecar/audit/handed.py)."""


def handed_to_envoy(decision_id: str, revision: str, identity: Identity | None) -> Handed:
    """Where no ext_proc follows. Without the subject: few callers have a reply of their own then, and most are kept."""
    if identity is None:
        return Handed(decision_id=decision_id, revision=revision)
    return Handed(decision_id=decision_id, revision=revision, tenant=identity.tenant, key_id=identity.key_id)


_decode_handed = msgspec.json.Decoder(Handed).decode


def read_check(message: bytes, trace_id: str) -> Check:
    """`trace_id` is "" where Envoy has no tracer. Raises google.protobuf.message.DecodeError for bytes that are no
    CheckRequest.
    """
    http, around = read_question(message)
    headers = http.headers
    path, _, query = http.path.partition("?")
    return Check(
        head=RequestHead(
            stream_id=http.id,
            method=http.method,
            path=path,
            query=query,
            headers=headers,
            source_address=around.source_address,
            trace_id=trace_id or trace_of(headers.get(REQUEST_ID, "")),
        ),
        revision=around.revision,
        content=around.content,
        body=http.raw_body if around.body else None,
        probe=headers.get(names.HEADER_PROBE),
        trace_steps=around.trace_steps,
    )


def _header(key: str, value: str) -> base_pb2.HeaderValueOption:
    return base_pb2.HeaderValueOption(
        header=base_pb2.HeaderValue(key=key, value=value),
        append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )


def allow_reply(handed: Handed, told: str = "") -> bytes:
    """Let the request on: the result goes to ext_proc as dynamic metadata, the client's credentials are removed.

    The answer will carry the decision id, so that a client can name a decision that let it pass, too. `told` is the
    traceparent for the model, "" for none.
    """
    decision, place = handed.decision_id.encode(), told[:_PLACE].encode()
    if len(decision) != len(_ANY_DECISION) or not decision.isalnum():
        return _allow(handed, told)
    kept = _kept_allow(
        handed.revision,
        handed.source_address,
        handed.identity,
        handed.probe,
        handed.tenant,
        handed.key_id,
        told[_PLACE:],
    )
    return decision.join(kept) if isinstance(kept, list) else place.join(map(decision.join, kept))


@lru_cache(maxsize=1024)
def _kept_allow(
    revision: str,
    source: str,
    identity: Identity | None,
    probe: Probe | None,
    tenant: str,
    key_id: str,
    flags: str,
) -> list[bytes] | tuple[list[bytes], ...]:
    """The reply for a caller around the decision id, wherever it stands in it; with `flags` the parts of it around the
    place in a trace, each of them likewise. All ids are of one length.
    """
    decision, place = _ANY_DECISION.decode(), _ANY_PLACE.decode()
    handed = Handed(
        decision_id=decision,
        revision=revision,
        source_address=source,
        identity=identity,
        probe=probe,
        tenant=tenant,
        key_id=key_id,
    )
    whole = _allow(handed, place + flags if flags else "")
    parts = tuple(part.split(_ANY_DECISION) for part in whole.split(_ANY_PLACE))
    return parts if flags else parts[0]


def _allow(handed: Handed, told: str) -> bytes:
    decision = _header(names.HEADER_DECISION, handed.decision_id)
    allowed = auth.OkHttpResponse(headers_to_remove=_CREDENTIALS, response_headers_to_add=[decision])
    if told:
        allowed.headers.append(_header(_TRACEPARENT, told))
    reply = auth.CheckResponse(ok_response=allowed)
    reply.status.code = _OK
    if told.endswith(_SAMPLED):
        handed = msgspec.structs.replace(handed, traced=True)
        reply.dynamic_metadata.update({names.TRACED: True})
    reply.dynamic_metadata.update(hand_on(handed))
    return reply.SerializeToString()


def deny_reply(refused: Refusal, decision_id: str) -> bytes:
    """Answer the client in place of the model."""
    denied = auth.DeniedHttpResponse(
        headers=[_header(key, value) for key, value in refused.headers], body=refused.body.decode()
    )
    denied.status.code = refused.status  # type: ignore[assignment]
    reply = auth.CheckResponse(denied_response=denied)
    reply.status.code = _PERMISSION_DENIED
    reply.dynamic_metadata.update({"decision_id": decision_id})
    return reply.SerializeToString()


def hand_on(handed: Handed) -> dict[str, str]:
    """The dynamic metadata: the decision's id for Envoy itself, and everything as one string, which costs a fifth of
    nested values on its way, and comes along with every message of ext_proc.
    """
    return {"decision_id": handed.decision_id, names.HANDED: msgspec.json.encode(handed).decode()}


def read_handed(struct: struct_pb2.Struct) -> Handed | None:
    """The ext_authz result in ext_proc's metadata, or None when it is missing or not what ext_authz writes."""
    said = struct.fields.get(names.HANDED)
    try:
        return None if said is None else _decode_handed(said.string_value)
    except msgspec.MsgspecError:
        return None
