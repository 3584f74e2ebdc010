"""The official Anthropic client through a real sidecar: what is redacted, cut or refused stays valid for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest
import pytest_asyncio
from aiohttp import web

from tests.support import anthropic_events as says
from tests.support.gateway import Gateway, Model, streams
from tests.support.guard import KEY, OTHER_KEY

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.xdist_group("clients"),
    pytest.mark.asyncio(loop_scope="module"),
]

CANARY = "canary-7f3a9c21"
POLICY = """
apiVersion: bartizan.dev/v1alpha1
kind: ModelPolicy
metadata: {name: messages}
spec:
  selector: {matchLabels: {app: messages}}
  listener: {address: 127.0.0.1, port: {port}, tls: none}
  model: {name: messages, protocol: anthropic, port: {model}}
  tenants: [acme]
  authn: {apiKeys: {set: keys}}
  authz: [{name: no-beta, deny: 'request.model == "beta" || request.max_tokens > 4096'}]
  input: [{pii: {types: [email], action: redact}}, {secrets: {action: deny}}]
  output: [{pii: {types: [email]}}, {canary: {tokens: [canary-7f3a9c21], action: cut}}]
"""
ASK: dict[str, Any] = {"model": "claude", "max_tokens": 64, "messages": [{"role": "user", "content": "hi"}]}
UTF_8 = "text/event-stream; charset=utf-8"
SECRET = "AKIA" + "Q3EGRIJ7SNNH2LKP"


@pytest_asyncio.fixture(loop_scope="module")
async def client(served: Gateway) -> AsyncIterator[anthropic.AsyncAnthropic]:
    served.received.clear()
    async with anthropic.AsyncAnthropic(api_key=KEY, base_url=served.url, max_retries=0) as made:
        yield made


def answers(*content: dict[str, Any]) -> Model:
    async def model(_request: web.Request, _body: bytes) -> web.StreamResponse:
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude"}
        usage = {"input_tokens": 1, "output_tokens": 2}
        return web.json_response(
            {**message, "content": content, "stop_reason": "end_turn", "stop_sequence": None, "usage": usage}
        )

    return model


async def message(client: anthropic.AsyncAnthropic) -> anthropic.types.Message:
    async with asyncio.timeout(60), client.messages.stream(**ASK) as stream:
        return await stream.get_final_message()


async def test_a_stream_is_redacted_across_events_and_stays_a_message(
    served: Gateway, client: anthropic.AsyncAnthropic
) -> None:
    served.model = streams(
        says.start(),
        *says.text(0, ["ask bob@exam", "ple.org ", "first"], field="thinking"),
        *says.text(1, ["write to jane.d", "oe@exam", "ple.org"]),
        *says.tool(2, ['{"to": "j', "\\u0061ne@mail.exam", 'ple.org", "n": 1', "}"]),
        says.stop("tool_use"),
        kind=UTF_8,
    )
    got = await message(client)
    thinking, text, call = got.content
    assert isinstance(thinking, anthropic.types.ThinkingBlock)
    assert isinstance(text, anthropic.types.TextBlock)
    assert isinstance(call, anthropic.types.ToolUseBlock)
    assert (thinking.thinking, text.text) == ("ask [EMAIL] first", "write to [EMAIL]")
    assert call.input == {"to": "[EMAIL]", "n": 1}
    assert (got.stop_reason, got.usage.output_tokens) == ("tool_use", 9)
    record = await served.guard.next_record()
    assert (record.action, record.path, record.unscanned_reason) == ("redact", "/v1/messages", "")


async def test_a_cut_closes_the_open_block_and_the_message(
    served: Gateway, client: anthropic.AsyncAnthropic
) -> None:
    events = says.text(0, ["fine words first; ", "the word is cana", "ry-7f3a", "9c21 and more"])
    served.model = streams(says.start(), *events, says.stop(), kind=UTF_8)
    got = await message(client)
    (text,) = got.content
    assert isinstance(text, anthropic.types.TextBlock)
    assert (text.text, got.stop_reason) == ("fine words first; the word is ", "refusal")
    assert (await served.guard.next_record()).cause == "answer_cut"


async def test_a_stream_that_can_not_be_read_is_an_error_and_no_refusal(
    served: Gateway, client: anthropic.AsyncAnthropic
) -> None:
    broken = b"event: content_block_delta\ndata: {not json\n\n"
    served.model = streams(says.start(), *says.text(0, ["fine words"])[:2], broken)
    with pytest.raises(anthropic.APIStatusError, match="could not be delivered"):
        await message(client)
    assert (await served.guard.next_record()).cause == "answer_malformed"


async def test_whole_answers_are_redacted_and_a_canary_refuses_them(
    served: Gateway, client: anthropic.AsyncAnthropic
) -> None:
    call = {"type": "tool_use", "id": "t", "name": "mail", "input": {"to": ["jane@example.org"]}}
    served.model = answers({"type": "text", "text": "see jane@example.org"}, call)
    got = await client.messages.create(**ASK)
    assert [block.type for block in got.content] == ["text", "tool_use"]
    assert "jane@example.org" not in got.to_json()
    assert got.to_json().count("[EMAIL]") == 2
    served.model = answers({"type": "text", "text": CANARY})
    with pytest.raises(anthropic.PermissionDeniedError) as refused:
        await client.messages.create(**ASK)
    assert refused.value.body["error"]["type"] == "permission_error"  # type: ignore[index]
    await served.guard.next_record()
    await served.guard.next_record()


async def test_every_text_of_a_request_is_checked_and_its_other_bytes_stay(
    served: Gateway, client: anthropic.AsyncAnthropic
) -> None:
    served.model = answers({"type": "text", "text": "ok"})
    history: list[Any] = [
        {"role": "user", "content": [{"type": "text", "text": "I am jane@example.org"}]},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"q": "bob@example.org"}}],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "t", "content": "eve@example.org"}],
        },
    ]
    await client.messages.create(**{**ASK, "messages": history}, system="serve root@example.org")
    (body,) = served.received
    sent = json.loads(body)
    assert b"example.org" not in body
    assert sent["system"] == "serve [EMAIL]"
    assert sent["messages"][2]["content"][0] == {**history[2]["content"][0], "content": "[EMAIL]"}
    await served.guard.next_record()


async def test_refusals_are_the_clients_own_exceptions(
    served: Gateway, client: anthropic.AsyncAnthropic
) -> None:
    leak = {**ASK, "messages": [{"role": "user", "content": f"my key {SECRET}"}]}
    cases: list[tuple[dict[str, Any], type[anthropic.APIStatusError], str]] = [
        (leak, anthropic.PermissionDeniedError, "content_denied"),
        ({**ASK, "model": "beta"}, anthropic.PermissionDeniedError, "forbidden"),
        ({**ASK, "max_tokens": 5000}, anthropic.PermissionDeniedError, "forbidden"),
        (
            {**ASK, "messages": [{"role": "root", "content": "x"}]},
            anthropic.BadRequestError,
            "malformed_body",
        ),
    ]
    for asked, kind, cause in cases:
        with pytest.raises(kind):
            await client.messages.create(**asked)
        assert (await served.guard.next_record()).cause == cause
    stranger = client.with_options(api_key=OTHER_KEY)
    with pytest.raises(anthropic.PermissionDeniedError):
        await stranger.messages.create(**ASK)
    await served.guard.next_record()
    of_envoy: list[tuple[str, type[anthropic.APIStatusError], dict[str, str], str]] = [
        ("/v1/files", anthropic.NotFoundError, {}, "not_found_error"),
        ("/v1%2fmessages", anthropic.BadRequestError, {}, "invalid_request_error"),
        ("/v1/messages", anthropic.APIStatusError, {"x-long": "x" * 70_000}, "request_too_large"),
    ]
    for path, refusal, headers, named in of_envoy:
        with pytest.raises(refusal) as refused:
            await client.post(path, cast_to=object, body={}, options={"headers": headers})
        body: Any = refused.value.body
        assert (body["type"], body["error"]["type"]) == ("error", named)
    assert not served.received


async def test_the_query_that_clients_of_the_beta_namespace_write_passes_and_no_other(
    served: Gateway, client: anthropic.AsyncAnthropic
) -> None:
    served.model = answers({"type": "text", "text": "fine"})
    got = await client.beta.messages.create(**ASK, extra_query={"beta": "true"})
    assert got.type == "message"
    assert (await served.guard.next_record()).cause == "allowed"
    for query in ({"beta": "false"}, {"beta": "true", "system": "x"}, {"prompt": "x"}):
        with pytest.raises(anthropic.BadRequestError, match="takes no query"):
            await client.messages.create(**ASK, extra_query=query)
        assert (await served.guard.next_record()).cause == "query_not_allowed"
    assert len(served.received) == 1


async def test_an_error_of_the_model_keeps_its_type_and_loses_its_stack_trace(
    served: Gateway, client: anthropic.AsyncAnthropic
) -> None:
    def fails(status: int, kind: str) -> Model:
        async def model(_request: web.Request, _body: bytes) -> web.StreamResponse:
            error = {"type": kind, "message": "not now; ask jane@example.org"}
            return web.json_response({"type": "error", "error": error}, status=status)

        return model

    served.model = fails(400, "invalid_request_error")
    with pytest.raises(anthropic.BadRequestError) as refused:
        await client.messages.create(**ASK)
    assert refused.value.body["error"]["message"] == "not now; ask [EMAIL]"  # type: ignore[index]
    served.model = fails(529, "overloaded_error")
    with pytest.raises(anthropic.APIStatusError) as caught:
        await client.messages.create(**ASK)
    assert caught.value.status_code == 529
    assert caught.value.body["type"] == "error"  # type: ignore[index]
    assert "jane" not in str(caught.value)

    async def broken(_request: web.Request, _body: bytes) -> web.StreamResponse:
        return web.Response(status=500, text="Traceback (most recent call last)")

    served.model = broken
    with pytest.raises(anthropic.InternalServerError) as caught:
        await client.messages.create(**ASK)
    assert "Traceback" not in str(caught.value)
    await served.guard.next_record()
    await served.guard.next_record()
    await served.guard.next_record()
