"""Envoy's ext_proc messages <-> the guard's own types, both directions, pure. Beside translate_check.py and
ext_proc_body.py nothing else in here reads or writes protobuf.
"""

from __future__ import annotations

from collections.abc import Sequence

from bartizan.policy import names
from protos.gen.envoy.config.core.v3 import base_pb2
from protos.gen.envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
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
from sidecar.model.request import REQUEST_ID
from sidecar.wire.respond import Refusal
from sidecar.wire.translate_check import Handed, read_handed

_PROC_FILTER = "envoy.filters.http.ext_proc"
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


def _raw_header(key: str, value: str) -> base_pb2.HeaderValueOption:
    """ext_proc reads raw_value only."""
    return base_pb2.HeaderValueOption(
        header=base_pb2.HeaderValue(key=key, raw_value=value.encode()),
        append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )


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
                query=query,
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
        case AnswerData(data=data, end=end, cut=cut):
            made = proc.ProcessingResponse()
            if cut:  # else Envoy would log none that was not drawn, and its spans are made of the log
                made.dynamic_metadata.update({names.AUTHZ_METADATA: {names.TRACED: True}})
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
