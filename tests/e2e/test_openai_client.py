"""The official OpenAI client through a real sidecar: what is redacted, cut or refused stays valid for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
import pytest_asyncio
from aiohttp import web

from tests.support import openai_events as says
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
metadata: {name: openai}
spec:
  selector: {matchLabels: {app: openai}}
  listener: {address: 127.0.0.1, port: {port}, tls: none}
  model: {name: openai, protocol: openai, port: {model}}
  tenants: [acme]
  authn: {apiKeys: {set: keys}}
  authz: [{name: small, deny: 'request.max_tokens > 4096'}]
  input: [{pii: {types: [email], action: redact}}, {secrets: {action: deny}}]
  output: [{pii: {types: [email]}}, {canary: {tokens: [canary-7f3a9c21], action: cut}}]
"""
CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
SECRET = "AKIA" + "Q3EGRIJ7SNNH2LKP"


@pytest_asyncio.fixture(loop_scope="module")
async def client(served: Gateway) -> AsyncIterator[openai.AsyncOpenAI]:
    served.received.clear()
    async with openai.AsyncOpenAI(api_key=KEY, base_url=f"{served.url}/v1", max_retries=0) as made:
        yield made


def answers(body: Any, status: int = 200) -> Model:
    async def model(_request: web.Request, _body: bytes) -> web.StreamResponse:
        return web.json_response(body, status=status)

    return model


async def test_choices_and_tool_calls_are_joined_each_for_itself(
    served: Gateway, client: openai.AsyncOpenAI
) -> None:
    served.model = streams(
        says.chunk({"role": "assistant", "content": "ask bob@exam"}),
        says.chunk({"role": "assistant", "content": "write to jane@"}, index=1),
        says.chunk({"content": "ple.org"}),
        says.call('{"to": "e', name="mail"),
        says.call('{"to": "kim@mail.exam', number=1, name="mail"),
        says.chunk({"content": "example.org"}, index=1),
        says.call('\\u0076e@mail.example.org"}'),
        says.call('ple.org"}', number=1),
        says.chunk({}, index=1, finish="stop"),
        says.chunk({}, finish="tool_calls"),
        says.DONE,
    )
    async with asyncio.timeout(60), client.chat.completions.stream(**CHAT, n=2) as stream:
        got = await stream.get_final_completion()
    first, second = got.choices
    assert (first.message.content, second.message.content) == ("ask [EMAIL]", "write to [EMAIL]")
    calls = [call.function.arguments for call in first.message.tool_calls or ()]
    assert [json.loads(arguments) for arguments in calls] == [{"to": "[EMAIL]"}] * 2
    assert (await served.guard.next_record()).action == "redact"


async def test_a_canary_in_pieces_of_a_name_is_not_joined_by_the_client(
    served: Gateway, client: openai.AsyncOpenAI
) -> None:
    served.model = streams(
        says.call("", name="canary-"),
        says.chunk({"content": "wait"}),
        says.call("", name="7f3a9c21"),
        says.call("{}"),
        says.chunk({}, finish="tool_calls"),
        says.DONE,
    )
    names = ""
    async for event in await client.chat.completions.create(**CHAT, stream=True):
        names += "".join(
            call.function.name or "" for call in event.choices[0].delta.tool_calls or () if call.function
        )
    assert names == "canary-"
    async with asyncio.timeout(60), client.chat.completions.stream(**CHAT) as stream:
        with pytest.raises(openai.ContentFilterFinishReasonError):
            await stream.get_final_completion()
    assert [(await served.guard.next_record()).cause for _ in range(2)] == ["answer_cut"] * 2


async def test_calls_that_a_server_gives_one_index_come_each_whole(
    served: Gateway, client: openai.AsyncOpenAI
) -> None:
    calls = [
        ("call_a", "mail", '{"to": "eve@mail.example.com"}'),
        ("call_b", "mail", "{}"),
        ("call_c", "now", ""),
    ]
    served.model = streams(
        *(
            says.chunk(
                {"tool_calls": [{"index": 0, "id": made, "function": {"name": name, "arguments": said}}]}
            )
            for made, name, said in calls
        ),
        says.chunk({}, finish="tool_calls"),
        says.DONE,
    )
    got: dict[str, tuple[str, str]] = {}
    last = ""
    async for event in await client.chat.completions.create(**CHAT, stream=True):
        for call in event.choices[0].delta.tool_calls or ():
            assert call.function
            last = call.id or last
            name, said = got.get(last, ("", ""))
            got[last] = (name + (call.function.name or ""), said + (call.function.arguments or ""))
    assert got == {"call_a": ("mail", '{"to": "[EMAIL]"}'), "call_b": ("mail", "{}"), "call_c": ("now", "")}
    assert (await served.guard.next_record()).action == "redact"


async def test_a_cut_finishes_every_choice(served: Gateway, client: openai.AsyncOpenAI) -> None:
    served.model = streams(
        says.chunk({"role": "assistant", "content": "the word is cana"}),
        says.chunk({"content": "ry-7f3a9c21 ok"}),
        says.chunk({}, finish="stop"),
        says.DONE,
    )
    async with asyncio.timeout(60), client.chat.completions.stream(**CHAT) as stream:
        with pytest.raises(openai.ContentFilterFinishReasonError):
            await stream.get_final_completion()
    text = ""
    reasons = []
    async for event in await client.chat.completions.create(**CHAT, stream=True):
        text += event.choices[0].delta.content or ""
        reasons.append(event.choices[0].finish_reason)
    assert (text, reasons[-1]) == ("the word is ", "content_filter")
    assert [(await served.guard.next_record()).cause for _ in range(2)] == ["answer_cut"] * 2


async def test_a_stream_that_can_not_be_read_is_an_error_and_no_filtered_answer(
    served: Gateway, client: openai.AsyncOpenAI
) -> None:
    broken = b"data: {not json\n\n"
    served.model = streams(says.chunk({"role": "assistant", "content": "fine words "}), broken, says.DONE)
    text = ""
    with pytest.raises(openai.APIError, match="could not be delivered"):
        async for event in await client.chat.completions.create(**CHAT, stream=True):
            text += event.choices[0].delta.content or ""
    made = says.Responses()
    served.model = streams(made.begin(), broken)
    events = [event async for event in await client.responses.create(model="m", input="hi", stream=True)]
    last = events[-1]
    assert last.type == "response.failed"
    assert last.response.error
    assert last.response.error.code == "server_error"
    assert text == "fine words "
    assert [(await served.guard.next_record()).cause for _ in range(2)] == ["answer_malformed"] * 2


async def test_a_streamed_response_is_redacted_in_its_deltas_and_its_whole_texts(
    served: Gateway, client: openai.AsyncOpenAI
) -> None:
    made = says.Responses()
    text = "write to jane.doe@example.org"
    served.model = streams(
        made.begin(),
        made.message(0, ["write to jane.d", "oe@exam", "ple.org"]),
        made.call(1, ['{"to": "j', "\\u0061ne@mail.exam", 'ple.org"}']),
        made.end(says.said(text)),
    )
    deltas, numbers = "", []
    async with asyncio.timeout(60), client.responses.stream(model="m", input="hi") as stream:
        async for event in stream:
            numbers.append(event.sequence_number)
            if event.type == "response.output_text.delta":
                deltas += event.delta
            elif event.type == "response.function_call_arguments.done":
                assert json.loads(event.arguments) == {"to": "[EMAIL]"}
        got = await stream.get_final_response()
    assert deltas == got.output_text == "write to [EMAIL]"
    assert numbers == sorted(set(numbers))
    record = await served.guard.next_record()
    assert (record.action, record.path, record.unscanned_reason) == ("redact", "/v1/responses", "")


async def test_a_cut_response_is_incomplete(served: Gateway, client: openai.AsyncOpenAI) -> None:
    made = says.Responses()
    served.model = streams(made.begin(), made.message(0, ["it is cana", "ry-7f3a9c21"]), made.end())
    events = [event async for event in await client.responses.create(model="m", input="hi", stream=True)]
    last = events[-1]
    assert last.type == "response.incomplete"
    assert last.response.incomplete_details
    assert last.response.incomplete_details.reason == "content_filter"
    assert (await served.guard.next_record()).cause == "answer_cut"


async def test_whole_answers_are_redacted(served: Gateway, client: openai.AsyncOpenAI) -> None:
    served.model = answers(says.response("completed", says.said("see jane@example.org")))
    assert (await client.responses.create(model="m", input="hi")).output_text == "see [EMAIL]"
    vectors = [{"object": "embedding", "index": 0, "embedding": [0.5, -0.25]}]
    served.model = answers({"object": "list", "data": vectors, "model": "m", "usage": {"prompt_tokens": 1}})
    got = await client.embeddings.create(model="m", input="I am jane@example.org", encoding_format="float")
    assert got.data[0].embedding == [0.5, -0.25]
    scores = {"hate": 0.125}
    result = {"flagged": False, "categories": {"hate": False}, "category_scores": scores}
    served.model = answers({"id": "modr-1", "model": "m", "results": [result]})
    parts: Any = [{"type": "text", "text": "I am jane@example.org"}]
    judged = await client.moderations.create(input=parts)
    assert judged.results[0].category_scores.hate == 0.125
    choice = {"index": 0, "text": "see jane@example.org", "finish_reason": "stop", "logprobs": None}
    served.model = answers({"id": "c", "object": "text_completion", "created": 1, "choices": [choice]})
    said = await client.completions.create(model="m", prompt=["I am jane@example.org"])
    assert said.choices[0].text == "see [EMAIL]"
    assert not any(b"jane@example.org" in body for body in served.received)
    paths = [(await served.guard.next_record()).path for _ in range(4)]
    assert paths == ["/v1/responses", "/v1/embeddings", "/v1/moderations", "/v1/completions"]


async def test_refusals_are_the_clients_own_exceptions(served: Gateway, client: openai.AsyncOpenAI) -> None:
    result: Any = {"type": "function_call_output", "call_id": "c", "output": f"the key is {SECRET}"}
    odd: Any = {"role": "root", "content": "x"}
    with pytest.raises(openai.PermissionDeniedError):
        await client.responses.create(model="m", input=[result])
    with pytest.raises(openai.PermissionDeniedError):
        await client.responses.create(model="m", input="hi", max_output_tokens=5000)
    with pytest.raises(openai.BadRequestError):
        await client.chat.completions.create(model="m", messages=[odd])
    with pytest.raises(openai.PermissionDeniedError):
        await client.with_options(api_key=OTHER_KEY).chat.completions.create(**CHAT)
    causes = [(await served.guard.next_record()).cause for _ in range(4)]
    assert causes == ["content_denied", "forbidden", "malformed_body", "tenant_not_allowed"]
    with pytest.raises(openai.NotFoundError):
        await client.files.list()
    assert not served.received


async def test_long_prompts_and_pictures_are_read_as_far_as_they_are_text_and_the_record_says_so(
    served: Gateway, client: openai.AsyncOpenAI
) -> None:
    """What other gateways got wrong: 220 KB prompts, parts beside pictures, streams that no check saw."""
    served.model = streams(says.chunk({"role": "assistant", "content": "a picture of jane@"}), says.DONE)
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    prompt = "word " * 44_000 + "I am jane@example.org"
    parts: Any = [{"type": "text", "text": prompt}, picture, {"type": "text", "text": "bob@example.org"}]
    asked: Any = [{"role": "user", "content": parts}]
    text = ""
    async with asyncio.timeout(60):
        async for event in await client.chat.completions.create(model="m", messages=asked, stream=True):
            text += event.choices[0].delta.content or ""
    assert text == "a picture of jane@"
    (sent,) = (json.loads(body)["messages"][0]["content"] for body in served.received)
    assert sent == [
        {"type": "text", "text": "word " * 44_000 + "I am [EMAIL]"},
        picture,
        {"type": "text", "text": "[EMAIL]"},
    ]
    record = await served.guard.next_record()
    named = (len("m"), len("c1" + "m"))  # identifiers, which secrets and canary read
    assert record.request_scanned == len(prompt) + len("bob@example.org") + named[0]
    assert record.response_scanned == len("a picture of jane@") + named[1]
    assert record.unscanned_reason == "image_url"
