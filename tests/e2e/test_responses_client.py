"""The Responses API with validators: the official client gets calls and structured texts that fit, and no others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import openai
import pytest
import pytest_asyncio
from aiohttp import web

from tests.support import openai_events as says
from tests.support.gateway import Gateway, Model, streams
from tests.support.guard import KEY

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.xdist_group("clients"),
    pytest.mark.asyncio(loop_scope="module"),
]

POLICY = """
apiVersion: bartizan.dev/v1alpha1
kind: ModelPolicy
metadata: {name: responses}
spec:
  selector: {matchLabels: {app: responses}}
  listener: {address: 127.0.0.1, port: {port}, tls: none}
  model: {name: responses, protocol: openai, port: {model}}
  tenants: [acme]
  authn: {apiKeys: {set: keys}}
  output:
    - pii: {types: [email]}
    - canary: {tokens: [canary-7f3a9c21], action: cut}
    - tools: {allow: [mail, web_search], schemas: {mail: {type: object, required: [to]}}}
    - structured: {schema: {type: object, required: [mood]}}
"""
ASK: dict[str, Any] = {"model": "m", "input": "hi"}
FINE = '{"mood": "calm", "by": "jane@example.org"}'
MAIL = '{"to": "jane@example.org"}'
SEARCH = {"id": "ws_1", "type": "web_search_call", "status": "completed"}
SHELL = {"id": "sh_1", "type": "local_shell_call", "call_id": "c", "status": "completed", "action": {}}


@pytest_asyncio.fixture(loop_scope="module")
async def client(served: Gateway) -> AsyncIterator[openai.AsyncOpenAI]:
    served.received.clear()
    async with openai.AsyncOpenAI(api_key=KEY, base_url=f"{served.url}/v1", max_retries=0) as made:
        yield made


def function(name: str, arguments: str) -> dict[str, Any]:
    return {"id": "fc_1", "type": "function_call", "call_id": "c1", "name": name, "arguments": arguments}


def whole(*output: dict[str, Any]) -> Model:
    async def model(_request: web.Request, _body: bytes) -> web.StreamResponse:
        return web.json_response(says.response("completed", *output))

    return model


def streamed(*output: dict[str, Any], size: int = 53) -> Model:
    """The same items as their events, texts in pieces of seven characters, bytes in pieces of `size`."""
    made = says.Responses()
    events = [made.begin()]
    for number, item in enumerate(output):
        match item["type"]:
            case "message":
                events.append(made.message(number, _pieces(item["content"][0]["text"])))
            case "function_call":
                events.append(made.call(number, _pieces(item["arguments"]), name=item["name"]))
            case _:
                for phase in ("added", "done"):
                    kind = f"response.output_item.{phase}"
                    events.append(made.event(kind, output_index=number, item=item))
    events.append(made.end(*output))
    return streams(*events, size=size)


def _pieces(text: str) -> list[str]:
    return [text[at : at + 7] for at in range(0, len(text), 7)]


async def final(client: openai.AsyncOpenAI, *, stream: bool) -> openai.types.responses.Response:
    if not stream:
        answered: openai.types.responses.Response = await client.responses.create(**ASK)
        return answered
    async with asyncio.timeout(60), client.responses.stream(**ASK) as events:
        return await events.get_final_response()


@pytest.mark.parametrize(("says_it", "stream"), [(whole, False), (streamed, True)])
async def test_what_fits_comes_redacted_and_valid(
    served: Gateway, client: openai.AsyncOpenAI, says_it: Callable[..., Model], *, stream: bool
) -> None:
    served.model = says_it(says.said(FINE), function("mail", MAIL), SEARCH)
    got = await final(client, stream=stream)
    assert json.loads(got.output_text) == {"mood": "calm", "by": "[EMAIL]"}
    call = got.output[1]
    assert isinstance(call, openai.types.responses.ResponseFunctionToolCall)
    assert (call.name, json.loads(call.arguments)) == ("mail", {"to": "[EMAIL]"})
    assert got.output[2].type == "web_search_call"
    assert "jane" not in got.to_json()
    record = await served.guard.next_record()
    assert (record.cause, record.action, record.unscanned_reason) == (
        "allowed",
        "redact",
        "no_input_checks",
    )


REFUSED = [
    ("a call of another tool", [function("steal", "{}")]),
    ("arguments that do not fit", [function("mail", '{"cc": "x"}')]),
    ("a built-in tool that is not listed", [SHELL]),
    ("text that is no JSON", [says.said("calm, by all means")]),
    ("JSON that does not fit", [says.said('{"weather": "calm"}')]),
    ("nothing at all", []),
    ("a canary in arguments", [function("mail", '{"to": "canary-7f3a9c21"}')]),
]


@pytest.mark.parametrize("items", [items for _, items in REFUSED], ids=[name for name, _ in REFUSED])
async def test_what_does_not_fit_is_withheld_whole_or_cut(
    served: Gateway, client: openai.AsyncOpenAI, items: list[dict[str, Any]]
) -> None:
    served.model = whole(*items)
    with pytest.raises(openai.PermissionDeniedError):
        await client.responses.create(**ASK)
    assert (await served.guard.next_record()).cause == "answer_denied"
    served.model = streamed(*items)
    events = [event async for event in await client.responses.create(**ASK, stream=True)]
    last = events[-1]
    assert last.type == "response.incomplete"
    assert last.response.incomplete_details
    assert last.response.incomplete_details.reason == "content_filter"
    assert last.response.output == []
    sent = "".join(event.to_json() for event in events)
    assert not any(word in sent for word in ("steal", '"cc', "local_shell", "calm", "canary-7f3a9c21"))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert (await served.guard.next_record()).cause == "answer_cut"
