"""Envoy's ext_authz messages <-> the guard's own types, both directions, pure; and what ext_authz hands on to ext_proc."""

from __future__ import annotations

import secrets
from typing import ClassVar, Final

import msgspec
from google.protobuf import struct_pb2

from bartizan.policy import names
from protos.gen.envoy.config.core.v3 import base_pb2
from protos.gen.envoy.service.auth.v3 import external_auth_pb2 as auth
from sidecar.model.kept import Kept
from sidecar.model.request import REQUEST_ID, Identity, RequestHead, trace_of
from sidecar.model.value import Value
from sidecar.plan.probe import Probe
from sidecar.wire.question import read_question
from sidecar.wire.respond import Refusal
from sidecar.wire.trace import traceparent

_OK = 0
_PERMISSION_DENIED = 7
_CREDENTIALS = ("authorization", "x-api-key")
# Nobody can know it, and so nothing else in a reply can hold it.
_ANY_DECISION = secrets.token_hex(16).encode()
_LONG = len(_ANY_DECISION)
_ANY_TRACE = secrets.token_hex(16)
_TRACEPARENT, _SAMPLED = "traceparent", "1"


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
    traced_below: str = ""
    """Requests whose trace id is less are traced, as the route says; "" where Envoy has a tracer of its own."""

    def within(self, trace_id: str) -> Check:
        """The same in this trace."""
        return msgspec.structs.replace(self, head=msgspec.structs.replace(self.head, trace_id=trace_id))


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


def handed_to_content(
    decision_id: str, revision: str, source_address: str, identity: Identity | None
) -> Handed:
    """Where ext_proc follows."""
    return Handed(
        decision_id=decision_id, revision=revision, source_address=source_address, identity=identity
    )


_decode_handed = msgspec.json.Decoder(Handed).decode


def read_check(message: bytes) -> Check:
    """In the trace that the request's id names. Raises google.protobuf.message.DecodeError for bytes that are no CheckRequest."""
    http, around = read_question(message)
    headers, path, query = http.headers, http.path, ""
    if "?" in path:
        path, _, query = path.partition("?")
    return Check(
        head=RequestHead(
            stream_id=http.id,
            method=http.method,
            path=path,
            query=query,
            headers=headers,
            source_address=around.source_address,
            trace_id=trace_of(headers[REQUEST_ID]) if REQUEST_ID in headers else "",
        ),
        revision=around.revision,
        content=around.content,
        body=http.raw_body if around.body else None,
        probe=headers.get(names.HEADER_PROBE),
        traced_below=around.traced_below,
    )


def _header(key: str, value: str) -> base_pb2.HeaderValueOption:
    return base_pb2.HeaderValueOption(
        header=base_pb2.HeaderValue(key=key, value=value),
        append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )


def pass_reply(decision_id: str, revision: str, identity: Identity | None, told: str = "") -> bytes:
    """`allow_reply` where no ext_proc follows."""
    kept = _PASSED[identity, revision, told[-1:]]
    return _spliced(kept, decision_id, told) or allow_reply(
        handed_to_envoy(decision_id, revision, identity), told
    )


def content_reply(
    decision_id: str, revision: str, source_address: str, identity: Identity | None, told: str = ""
) -> bytes:
    """`allow_reply` for a caller whose content ext_proc will see."""
    kept = _CONTENT[identity, revision, source_address, told[-1:]]
    return _spliced(kept, decision_id, told) or allow_reply(
        handed_to_content(decision_id, revision, source_address, identity), told
    )


_Around = tuple[list[bytes], ...]


def _around_content(identity: Identity | None, revision: str, source_address: str, sampled: str) -> _Around:
    """`_around` by what differs between callers and their addresses alone."""
    handed = handed_to_content(_ANY_DECISION.decode(), revision, source_address, identity)
    return _around(handed, sampled)


def _around_passed(identity: Identity | None, revision: str, sampled: str) -> _Around:
    """`_around` by what differs between callers alone."""
    return _around(handed_to_envoy(_ANY_DECISION.decode(), revision, identity), sampled)


_PASSED: Final = Kept(_around_passed, 1024)
_CONTENT: Final = Kept(_around_content, 1024)


def _around(handed: Handed, sampled: str) -> _Around:
    """The reply around the place in a trace, where one is told, and each of these parts around the decision id. `sampled` is
    the place's last digit, "" for no place.
    """
    told = traceparent(_ANY_TRACE, sampled=sampled == _SAMPLED) if sampled else ""
    whole = allow_reply(handed, told)
    parts = whole.split(told.encode()) if told else [whole]
    return tuple(part.split(_ANY_DECISION) for part in parts)


def _spliced(kept: _Around, decision_id: str, told: str) -> bytes | None:
    """The reply for this decision and place; None for an id of another length, or one that JSON writes otherwise."""
    decision = decision_id.encode()
    if len(decision) != _LONG or not decision.isalnum():
        return None
    if not told:
        return decision.join(kept[0])
    before, after = kept
    return b"".join((decision.join(before), told.encode(), decision.join(after)))


def allow_reply(handed: Handed, told: str = "") -> bytes:
    """Let the request on: the result goes to ext_proc as dynamic metadata, the client's credentials are removed.

    The answer will carry the decision id, so that a client can name a decision that let it pass, too. `told` is the
    place in a trace that the model is told, "" for none.
    """
    decision = _header(names.HEADER_DECISION, handed.decision_id)
    allowed = auth.OkHttpResponse(headers_to_remove=_CREDENTIALS, response_headers_to_add=[decision])
    if told:
        allowed.headers.append(_header(_TRACEPARENT, told))
    reply = auth.CheckResponse(ok_response=allowed)
    reply.status.code = _OK
    if told[-1:] == _SAMPLED:
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
