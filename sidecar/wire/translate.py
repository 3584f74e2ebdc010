"""Envoy's messages <-> the guard's own types, both directions, pure. Nothing else reads or writes protobuf here."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar

import msgspec
from google.protobuf import struct_pb2

from bartizan.policy import names
from protos.gen.envoy.config.core.v3 import base_pb2
from protos.gen.envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from protos.gen.envoy.service.auth.v3 import external_auth_pb2 as auth
from protos.gen.envoy.service.ext_proc.v3 import external_processor_pb2 as proc
from sidecar.model.events import (
    AnswerBody,
    AnswerData,
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
)
from sidecar.model.request import REQUEST_ID, Identity, RequestHead, trace_of
from sidecar.model.value import Value
from sidecar.plan.probe import Probe
from sidecar.wire.respond import Refusal

_OK = 0
_PERMISSION_DENIED = 7
_CREDENTIALS = ("authorization", "x-api-key")
_HANDED = "handed"
_PROC_FILTER = "envoy.filters.http.ext_proc"
# Nobody can know it, and so nothing else in a reply can hold it.
_ANY_DECISION = secrets.token_hex(16).encode()
# Configured is "no answers", so that local replies of other filters make no guard stream; a request that was let
# through switches its answer on. Only in this mode can an answer be withheld, or cut with the model stopped.
_INSPECT_ANSWER = ProcessingMode(
    request_header_mode=ProcessingMode.SEND,
    request_body_mode=ProcessingMode.BUFFERED,
    request_trailer_mode=ProcessingMode.SEND,
    response_header_mode=ProcessingMode.SEND,
    response_body_mode=ProcessingMode.FULL_DUPLEX_STREAMED,
    response_trailer_mode=ProcessingMode.SEND,
)


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


class Handed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What ext_authz hands on to ext_proc in dynamic metadata. `identity` is None for probes."""

    decision_id: str
    revision: str
    source_address: str = ""
    identity: Identity | None = None
    probe: Probe | None = None


_decode_handed = msgspec.json.Decoder(Handed).decode


def read_check(message: bytes, trace_id: str) -> Check:
    """`trace_id` is "" where Envoy has no tracer. Raises google.protobuf.message.DecodeError for bytes that are no
    CheckRequest.
    """
    attributes = auth.CheckRequest.FromString(message).attributes
    http = attributes.request.http
    headers = http.headers
    extensions = attributes.context_extensions
    path, _, query = http.path.partition("?")
    return Check(
        head=RequestHead(
            stream_id=http.id,
            method=http.method,
            path=path,
            query=bool(query),
            headers=headers,
            source_address=attributes.source.address.socket_address.address,
            trace_id=trace_id or trace_of(headers.get(REQUEST_ID, "")),
        ),
        revision=extensions.get(names.REVISION, ""),
        content=extensions.get(names.CONTENT, "") == "1",
        body=http.raw_body if extensions.get(names.BODY, "") == "1" else None,
        probe=headers.get(names.HEADER_PROBE),
    )


def _header(key: str, value: str) -> base_pb2.HeaderValueOption:
    return base_pb2.HeaderValueOption(
        header=base_pb2.HeaderValue(key=key, value=value),
        append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )


def _raw_header(key: str, value: str) -> base_pb2.HeaderValueOption:
    """ext_proc reads raw_value only."""
    return base_pb2.HeaderValueOption(
        header=base_pb2.HeaderValue(key=key, raw_value=value.encode()),
        append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )


def allow_reply(handed: Handed) -> bytes:
    """Let the request on: the result goes to ext_proc as dynamic metadata, the client's credentials are removed.

    The answer will carry the decision id, so that a client can name a decision that let it pass, too.
    """
    decision = handed.decision_id.encode()
    if len(decision) != len(_ANY_DECISION) or not handed.decision_id.isalnum():
        return _allow(handed)
    kept = _kept_allow(handed.revision, handed.source_address, handed.identity, handed.probe)
    return decision.join(kept)


@lru_cache(maxsize=1024)
def _kept_allow(revision: str, source: str, identity: Identity | None, probe: Probe | None) -> list[bytes]:
    """The reply for a caller around the decision id, wherever that stands in it. All ids are of one length."""
    decision = _ANY_DECISION.decode()
    handed = Handed(
        decision_id=decision, revision=revision, source_address=source, identity=identity, probe=probe
    )
    return _allow(handed).split(_ANY_DECISION)


def _allow(handed: Handed) -> bytes:
    decision = _header(names.HEADER_DECISION, handed.decision_id)
    allowed = auth.OkHttpResponse(headers_to_remove=_CREDENTIALS, response_headers_to_add=[decision])
    reply = auth.CheckResponse(ok_response=allowed)
    reply.status.code = _OK
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
    return {"decision_id": handed.decision_id, _HANDED: msgspec.json.encode(handed).decode()}


def read_handed(struct: struct_pb2.Struct) -> Handed | None:
    """The ext_authz result in ext_proc's metadata, or None when it is missing or not what ext_authz writes."""
    said = struct.fields.get(_HANDED)
    try:
        return None if said is None else _decode_handed(said.string_value)
    except msgspec.MsgspecError:
        return None


def joined_headers(values: Sequence[base_pb2.HeaderValue]) -> dict[str, str]:
    """Header names lower case, repeated values joined with a comma; bytes that are no UTF-8 are replaced."""
    headers: dict[str, str] = {}
    for item in values:
        value = item.raw_value.decode("utf-8", "replace") if item.raw_value else item.value
        headers[item.key] = f"{headers[item.key]},{value}" if item.key in headers else value
    return headers


def read_event(request: proc.ProcessingRequest) -> Event | None:
    """What happened; None for a message kind that this guard doesn't know."""
    match request.WhichOneof("request"):
        case "response_body":
            piece = request.response_body
            return AnswerBody(data=piece.body, end=piece.end_of_stream)
        case "request_headers":
            headers = joined_headers(request.request_headers.headers.headers)
            path, _, query = (target := headers.pop(":path", "")).partition("?")
            return RequestHeaders(
                method=headers.pop(":method", ""),
                path=path,
                query=bool(query),
                target=target,
                headers=headers,
                end=request.request_headers.end_of_stream,
            )
        case "request_body":
            return RequestBody(data=request.request_body.body)
        case "request_trailers":
            return RequestTrailers()
        case "response_headers":
            headers = joined_headers(request.response_headers.headers.headers)
            status = headers.pop(":status", "")
            return AnswerHeaders(
                status=int(status) if status.isdecimal() else 502,
                headers=headers,
                end=request.response_headers.end_of_stream,
            )
        case "response_trailers":
            return AnswerTrailers()
        case _:
            return None


def plan_named(request: proc.ProcessingRequest) -> str:
    """The plan id that the route names; "" without. Only the first message of a stream carries it."""
    attributes = request.attributes.get(_PROC_FILTER)
    if attributes is None:
        return ""
    value = attributes.fields.get(names.PROC_REVISION_ATTRIBUTE)
    return "" if value is None else value.string_value


def request_id(request: proc.ProcessingRequest) -> str:
    """Envoy's id of the request, from the message that holds its headers; "" in any other."""
    sent = request.request_headers.headers.headers
    return next((item.raw_value.decode("ascii", "replace") for item in sent if item.key == REQUEST_ID), "")


def handed_on(request: proc.ProcessingRequest) -> Handed | None:
    """What ext_authz said of this request; None when it is missing or not ours."""
    struct = request.metadata_context.filter_metadata.get(names.AUTHZ_METADATA)
    return None if struct is None else read_handed(struct)


def reply_message(reply: Reply, refused: Refusal | None = None, details: str = "") -> bytes:
    """One of Envoy's replies. `refused` is the rendered answer of a Refuse."""
    return _reply(reply, refused, details).SerializeToString()


def _reply(reply: Reply, refused: Refusal | None, details: str) -> proc.ProcessingResponse:
    match reply:
        case AnswerData(data=data, end=end):
            made = proc.ProcessingResponse()
            piece = made.response_body.response.body_mutation.streamed_response
            piece.body, piece.end_of_stream = data, end
            return made
        case PassRequestHeaders(inspect_answer=inspect):
            made = proc.ProcessingResponse(request_headers=proc.HeadersResponse())
            if inspect:
                made.request_headers.response.header_mutation.remove_headers.append("accept-encoding")
                made.mode_override.CopyFrom(_INSPECT_ANSWER)
            return made
        case PassRequestBody(data=data):
            body = proc.BodyResponse()
            if data is not None:
                body.response.body_mutation.body = data
                # a changed body with its old length is a 500
                body.response.header_mutation.set_headers.append(
                    _raw_header("content-length", str(len(data)))
                )
            return proc.ProcessingResponse(request_body=body)
        case PassRequestTrailers():
            return proc.ProcessingResponse(request_trailers=proc.TrailersResponse())
        case PassAnswerHeaders(content_type=content_type, without=without):
            answer = proc.HeadersResponse()
            if without:
                answer.response.header_mutation.remove_headers.extend(without)
            if content_type:
                answer.response.header_mutation.set_headers.append(_raw_header("content-type", content_type))
            return proc.ProcessingResponse(response_headers=answer)
        case PassAnswerTrailers():
            return proc.ProcessingResponse(response_trailers=proc.TrailersResponse())
        case Refuse():
            if refused is None:
                raise ValueError("a refusal must be rendered first")
            immediate = proc.ImmediateResponse(body=refused.body, details=details)
            immediate.status.code = refused.status  # type: ignore[assignment]
            immediate.headers.set_headers.extend(_raw_header(key, value) for key, value in refused.headers)
            return proc.ProcessingResponse(immediate_response=immediate)
