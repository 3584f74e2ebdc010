"""Traps of replies: the wrong kind, too late, too large. What our guard says is checked message by message."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from protos.gen.envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from protos.gen.envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from protos.gen.envoy.service.ext_proc.v3.external_processor_pb2 import (
    BodyMutation,
    BodyResponse,
    CommonResponse,
    HeaderMutation,
    HeadersResponse,
    ImmediateResponse,
    ProcessingRequest,
    ProcessingResponse,
    StreamedBodyResponse,
)
from protos.gen.envoy.type.v3.http_status_pb2 import HttpStatus, StatusCode
from sidecar.wire.engine import Call
from tests.e2e.traps.conftest import POLICY
from tests.support.raw_model import ANSWERS, CANARY
from tests.support.watched_guard import Stand, StaticConfig, chat, watched, with_length

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("traps"), pytest.mark.asyncio(loop_scope="module")]

SWITCH = ProcessingMode(
    request_header_mode=ProcessingMode.SEND,
    request_body_mode=ProcessingMode.BUFFERED,
    response_header_mode=ProcessingMode.SEND,
    response_body_mode=ProcessingMode.FULL_DUPLEX_STREAMED,
    response_trailer_mode=ProcessingMode.SEND,
)
NEVER_ENDING = {"endless_error", "sse_endless", "sse_slow", "sse_canary_late"}
"""Slow, or played elsewhere."""


async def _immediate_too_late(call: Call, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Refuses an answer whose headers and first chunk are out."""
    chunks = 0
    async for message in messages:
        match ProcessingRequest.FromString(message).WhichOneof("request"):
            case "request_headers":
                yield ProcessingResponse(
                    request_headers=HeadersResponse(), mode_override=SWITCH
                ).SerializeToString()
            case "request_body":
                yield ProcessingResponse(request_body=BodyResponse()).SerializeToString()
            case "response_headers":
                yield ProcessingResponse(response_headers=HeadersResponse()).SerializeToString()
            case _ if not chunks:
                chunks += 1
                yield ProcessingResponse(
                    response_body=BodyResponse(
                        response=CommonResponse(
                            body_mutation=BodyMutation(streamed_response=StreamedBodyResponse(body=b"first "))
                        )
                    )
                ).SerializeToString()
            case _:
                yield ProcessingResponse(
                    immediate_response=ImmediateResponse(
                        status=HttpStatus(code=StatusCode.Forbidden),
                        body=b"refused by the guard",
                        headers=HeaderMutation(
                            set_headers=[
                                HeaderValueOption(header=HeaderValue(key="content-type", raw_value=b"text/plain"))
                            ]
                        ),
                    )
                ).SerializeToString()  # fmt: skip


async def test_a_refusal_after_the_headers_is_lost(stand: Stand) -> None:
    """The trap itself: the client sees a broken 200, nothing of the refusal, and no sign of why."""
    stand.guard.instead = _immediate_too_late
    reply = await stand.ask("sse_slow")
    assert (reply.status, reply.whole) == (200, False)
    assert b"refused by the guard" not in reply.raw


async def test_a_stream_is_cut_by_a_valid_end_instead(stand: Stand) -> None:
    """In FULL_DUPLEX_STREAMED the guard may end the answer early: the client gets a whole body, the model is stopped."""
    reply = await stand.ask("sse_canary")
    assert (reply.status, reply.whole) == (200, True)
    assert CANARY.encode() not in reply.raw
    assert reply.body.rstrip().endswith(b"data: [DONE]")
    seen = await stand.last()
    assert "immediate_response" not in seen.said()
    assert seen.replies[-1].response_body.response.body_mutation.streamed_response.end_of_stream


async def test_a_withheld_answer_is_refused_with_a_clean_status_instead(stand: Stand) -> None:
    """The guard answers the headers of a JSON answer only after it has judged the body."""
    stand.model.says = "canary"
    reply = await stand.send(with_length(chat()))
    assert reply.status in {403, 502}
    assert CANARY.encode() not in reply.raw
    assert (await stand.last()).said()[-1] == "immediate_response"


async def _spurious(call: Call, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Answers the headers as if they were a body."""
    await anext(messages)
    yield ProcessingResponse(request_body=BodyResponse()).SerializeToString()
    async for _ in messages:
        pass


async def test_a_spurious_reply_refuses_the_request(stand: Stand) -> None:
    """A reply of the wrong kind ends the stream, closed: `spurious_msgs_received`."""
    stand.guard.instead = _spurious
    before = (await stand.stats())["spurious_msgs_received"]
    reply = await stand.ask("chat")
    assert reply.status == 503
    assert not stand.model.received
    assert (await stand.stats())["spurious_msgs_received"] == before + 1


@pytest.mark.parametrize("wire", ["builtin", "ngh2", "grpcio"])
async def test_whatever_a_model_says_every_reply_of_ours_is_lawful(
    static_config: StaticConfig, wire: str
) -> None:
    """Kinds and order of replies, one end, pieces of at most 64 KiB, nothing after a refusal; Envoy counts no spurious
    message, no override that it did not take, no stream that was passed.
    """
    async with watched(POLICY, static_config, wire=wire) as stand:
        for says in sorted(set(ANSWERS) - NEVER_ENDING):
            for body in (chat("mail a@b.co"), chat("hi", stream=True)):
                with contextlib.suppress(OSError):
                    await stand.ask(says, body)
                seen = await stand.last()
                seen.check_is_lawful()
        counted = await stand.stats()
    assert counted["spurious_msgs_received"] == 0
    assert counted["failure_mode_allowed"] == 0
    assert counted["message_timeouts"] == 0
    assert counted["rejected_header_mutations"] == 0
