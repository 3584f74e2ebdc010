"""Protocols beside OpenAI's and Anthropic's against real Envoy, agent and worker: texts, scores, streams, errors.

One sidecar is shared: a test publishes the policy of its protocol.
"""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from bartizan.policy.keyset import KeyRecord, KeySet, key_hash, new_key
from tests.support.local_sidecar import LocalSidecar, enforced
from tests.support.raw_model import RawModel, answer, sse

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("protocols")]

KEY = new_key()
EMAIL, CANARY = "jane@example.org", "canary-7f3a9c21"
SCORES = {"probabilities": {"decimals": 2}}


def policy(protocol: str, *output: Any, **spec: Any) -> str:
    checks = [{"pii": {"types": ["email"]}}, {"canary": {"tokens": [CANARY], "action": "cut"}}, *output]
    document = {
        "apiVersion": "bartizan.dev/v1alpha1",
        "kind": "ModelPolicy",
        "metadata": {"name": "protocols"},
        "spec": {
            "selector": {"matchLabels": {"app": "protocols"}},
            "listener": {"address": "127.0.0.1", "port": "{port}", "tls": "none"},
            "model": {"name": "m-1", "protocol": protocol, "port": "{model}"},
            "tenants": ["acme"],
            "authn": {"apiKeys": {"set": "keys"}},
            "input": [{"pii": {"types": ["email"]}}, {"secrets": {}}],
            "output": checks,
            **spec,
        },
    }
    return json.dumps(document).replace('"{port}"', "{port}").replace('"{model}"', "{model}")


@dataclass(slots=True)
class World:
    sidecar: LocalSidecar
    model: RawModel
    version: int = 1

    def use(self, text: str) -> None:
        self.version += 1
        self.sidecar.publish(self.sidecar.signed(self.version, text))
        self.sidecar.until(lambda now: enforced(now, self.version))

    def says(self, body: Any, *, status: str = "200 OK", kind: str = "application/json") -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.model.script = lambda _request, write: write(answer(data, status=status, kind=kind))

    def ask(self, path: str, body: Any = None, *, method: str = "POST") -> tuple[int, bytes, str]:
        """Status, body and content type."""
        connection = http.client.HTTPConnection("127.0.0.1", self.sidecar.port, timeout=20)
        headers = {"x-api-key": KEY, **({"content-type": "application/json"} if body is not None else {})}
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        with contextlib.closing(connection):
            connection.request(method, path, body=data, headers=headers)
            response = connection.getresponse()
            return response.status, response.read(), response.headers.get("content-type", "")

    def got(self) -> bytes:
        """What reached the model last."""
        return self.model.received[-1].body


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    keys = KeySet(
        name="keys", version=1, keys=(KeyRecord(id="k1", hash=key_hash(KEY), tenant="acme", plan="gold"),)
    )
    with contextlib.ExitStack() as stack:
        model = RawModel("echo")
        stack.callback(model.down)
        sidecar = LocalSidecar(policy("kserve_v2"), model.port, keys)
        stack.callback(sidecar.close)
        sidecar.start()
        yield World(sidecar, model)


def test_kserve_v2_is_read_both_ways(world: World) -> None:
    world.use(policy("kserve_v2", SCORES))
    tensor = {"name": "text", "shape": [2], "datatype": "BYTES", "data": [f"I am {EMAIL}", "plain"]}
    output = {"name": "p", "shape": [2], "datatype": "FP32", "data": [0.87654321, 0.12345679]}
    said = {"name": "why", "shape": [1], "datatype": "BYTES", "data": [f"see {EMAIL}"]}
    world.says({"model_name": "m-1", "outputs": [output, said]})
    status, body, _ = world.ask("/v2/models/m-1/infer", {"inputs": [tensor]})
    assert status == 200
    assert json.loads(world.got())["inputs"][0]["data"] == ["I am [EMAIL]", "plain"]
    outputs = json.loads(body)["outputs"]
    assert (outputs[0]["data"], outputs[1]["data"]) == ([0.88, 0.12], ["see [EMAIL]"])
    asked = {"inputs": [tensor], "outputs": [{"name": "p", "parameters": {"classification": 2}}]}
    world.says({"outputs": [{**output, "datatype": "BYTES", "data": ["0.876543:1:cat", "0.123457:0:dog"]}]})
    classes = json.loads(world.ask("/v2/models/m-1/infer", asked)[1])["outputs"][0]["data"]
    assert classes == ["0.88:1:cat", "0.12:0:dog"]
    world.says({"name": "m-1", "versions": ["1"], "inputs": [], "outputs": []})
    assert world.ask("/v2/models/m-1", method="GET")[0] == 200
    before = len(world.model.received)
    shared = {**tensor, "data": [], "parameters": {"shared_memory_region": "r"}}
    assert world.ask("/v2/models/m-1/infer", {"inputs": [shared]})[0] == 400
    assert world.ask("/v2/models/other/infer", {"inputs": [tensor]})[0] == 404
    assert world.ask("/v2/repository/models/m-1/load", {})[0] == 404
    leak = "AKIA" + "Q3EGRIJ7SNNH2LKP"
    status, body, kind = world.ask("/v2/models/m-1/infer", {"inputs": [{**tensor, "data": [leak]}]})
    assert (status, kind, set(json.loads(body))) == (403, "application/json", {"error", "decision"})
    assert len(world.model.received) == before
    world.says({"error": f"no such input; ask {EMAIL}"}, status="400 Bad Request")
    assert (
        world.ask("/v2/models/m-1/infer", {"inputs": [tensor]})[1]
        == b'{"error": "no such input; ask [EMAIL]"}'
    )
    world.says({"model_name": "m-1"})
    assert world.ask("/v2/models/m-1/infer", {"inputs": [tensor]})[0] == 502


def test_kserve_v1_is_read_both_ways(world: World) -> None:
    world.use(policy("kserve_v1", SCORES))
    world.says({"predictions": [[0.87654321, 0.12345679], {"label": f"see {EMAIL}", "score": 0.99999}]})
    status, body, _ = world.ask("/v1/models/m-1:predict", {"instances": [{"text": EMAIL, "age": 41}]})
    assert status == 200
    assert json.loads(world.got()) == {"instances": [{"text": "[EMAIL]", "age": 41}]}
    assert json.loads(body) == {"predictions": [[0.88, 0.12], {"label": "see [EMAIL]", "score": 1.0}]}
    assert world.ask("/v1/models/m-1:predict", {"instances": [{"b64": "aGk="}]})[0] == 400
    assert world.ask("/v1/models/m-1:unload", {})[0] == 404


def test_routes_of_the_policy_stand_in_place_of_the_protocols(world: World) -> None:
    """TorchServe and MLflow speak the same bodies on paths of their own."""
    world.use(policy("kserve_v1", SCORES, routes=[{"path": "/predictions/m-1"}]))
    world.says({"good": 0.87654321})
    status, body, _ = world.ask("/predictions/m-1", [{"data": f"I am {EMAIL}"}])
    assert (status, json.loads(body)) == (200, {"good": 0.88})
    assert json.loads(world.got()) == [{"data": "I am [EMAIL]"}]
    assert world.ask("/v1/models/m-1:predict", {"instances": []})[0] == 404


def rpc(**members: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", **members}


def event(**members: Any) -> bytes:
    return f"event: message\nid: e1\ndata: {json.dumps(rpc(**members))}\n\n".encode()


def test_mcp_is_read_both_ways(world: World) -> None:
    world.use(policy("mcp"))
    call = rpc(id=7, method="tools/call", params={"name": "mail", "arguments": {"to": [EMAIL], "n": 1}})
    text = {"type": "text", "text": f"sent to {EMAIL}"}
    picture = {"type": "image", "data": "aGk=", "mimeType": "image/png"}
    world.says(rpc(id=7, result={"content": [text, picture], "structuredContent": {EMAIL: 1}}))
    status, body, _ = world.ask("/mcp", call)
    assert status == 200
    assert json.loads(world.got())["params"] == {"name": "mail", "arguments": {"to": ["[EMAIL]"], "n": 1}}
    result = json.loads(body)["result"]
    assert result["content"] == [{"type": "text", "text": "sent to [EMAIL]"}, picture]
    assert result["structuredContent"] == {"[EMAIL]": 1}
    note = event(method="notifications/message", params={"data": f"asking {EMAIL}"})
    world.model.script = sse(note[:40], note[40:], event(id=7, result={"content": [text]}))
    status, body, kind = world.ask("/mcp", call)
    assert (status, kind) == (200, "text/event-stream")
    assert EMAIL.encode() not in body
    assert body.count(b"[EMAIL]") == 2
    world.model.script = sse(note, event(id=7, result={"content": [{"type": "text", "text": CANARY}]}))
    data = [line[6:] for line in world.ask("/mcp", call)[1].split(b"\n") if line.startswith(b"data: ")]
    assert [(json.loads(one).get("id"), "error" in json.loads(one)) for one in data] == [
        (None, False),
        (7, True),
    ]
    world.model.script = sse(note)
    assert b"[EMAIL]" in world.ask("/mcp", method="GET")[1]
    before = len(world.model.received)
    status, body, _ = world.ask("/mcp", [call])
    assert (status, json.loads(body)["error"]["code"]) == (400, -32001)
    leak = "AKIA" + "Q3EGRIJ7SNNH2LKP"
    assert world.ask("/mcp", rpc(id=8, method="tools/call", params={"arguments": {"key": leak}}))[0] == 403
    status, body, _ = world.ask("/sse", method="GET")
    assert (status, json.loads(body)["jsonrpc"]) == (404, "2.0")
    assert len(world.model.received) == before


def line(text: str, **more: Any) -> bytes:
    message = {"role": "assistant", "content": text}
    made = {"model": "m", "created_at": "2026-01-01T00:00:00Z", "message": message, "done": False, **more}
    return json.dumps(made).encode() + b"\n"


def test_ollama_is_read_both_ways(world: World) -> None:
    world.use(policy("ollama", authz=[{"name": "small", "deny": "request.max_tokens > 100"}]))
    ask = {"model": "m", "messages": [{"role": "user", "content": f"I am {EMAIL}", "images": ["aGk="]}]}
    ended = line("", done=True, done_reason="stop", total_duration=4915112345678)
    kind = "application/x-ndjson"
    world.model.script = sse(
        line("ask jane@exam"), line("ple.org now")[:9], line("ple.org now")[9:], ended, kind=kind
    )
    status, body, got = world.ask("/api/chat", ask)
    assert (status, got) == (200, kind)
    lines = [json.loads(one) for one in body.splitlines()]
    assert "".join(one["message"]["content"] for one in lines) == "ask [EMAIL] now"
    assert lines[-1] == json.loads(ended)
    sent = json.loads(world.got())["messages"][0]
    assert (sent["content"], sent["images"]) == ("I am [EMAIL]", ["aGk="])
    world.model.script = sse(line("it is cana"), line("ry-7f3a9c21"), line("more"), ended, kind=kind)
    last = json.loads(world.ask("/api/chat", ask)[1].splitlines()[-1])
    assert (last["done"], last["done_reason"]) == (True, "content_filter")
    world.says({"model": "m", "response": f"see {EMAIL}", "context": [1, 2], "done": True})
    _, body, _ = world.ask("/api/generate", {"model": "m", "prompt": EMAIL, "stream": False})
    assert json.loads(body) == {"model": "m", "response": "see [EMAIL]", "context": None, "done": True}
    before = len(world.model.received)
    assert world.ask("/api/generate", {"model": "m", "prompt": "x", "context": [1]})[0] == 400
    assert world.ask("/api/chat", {**ask, "options": {"num_predict": 101}})[0] == 403
    for admin in ("/api/pull", "/api/create", "/api/copy"):
        assert world.ask(admin, {})[0] == 404
    assert len(world.model.received) == before


def test_parameters_are_clamped_refused_or_flagged(world: World) -> None:
    bounds = {"maxTokens": 100, "n": 2, "bestOf": 3, "logprobs": 1, "patternStates": 50, "schemaSize": 20}
    asked = {"max_tokens": 5000, "n": 9, "best_of": 8, "logprobs": 7}
    clamped = {"max_tokens": 100, "n": 2, "best_of": 3, "logprobs": 1}
    within = {**clamped, "guided_regex": "[a-z]{40}", "guided_json": {"maxLength": 9}}
    guides = ({"guided_regex": "[a-z]{51}"}, {"guided_json": {"maxLength": 21}})

    def ask(**body: Any) -> int:
        return world.ask("/v1/completions", {"model": "m", "prompt": "hi", **body})[0]

    def got() -> dict[str, Any]:
        sent: dict[str, Any] = json.loads(world.got())
        return {name: value for name, value in sent.items() if name not in ("model", "prompt")}

    for action in ("clamp", "deny", "flag"):
        world.use(policy("openai", input=[{"parameters": {**bounds, "action": action}}]))
        world.says({"choices": []})
        assert (ask(**within), got()) == (200, within)
        for name, value in asked.items():
            status = ask(**{name: value})
            left = {name: clamped[name] if action == "clamp" else value}
            assert (status == 403) if action == "deny" else (status, got()) == (200, left), name
        for guide in guides:
            assert ask(**guide) == (200 if action == "flag" else 403)
        assert ask(n="2") == 403, "a number of another type"


def test_ollamas_engine_is_run_as_its_operator_says(world: World) -> None:
    asked = {"keep_alive": -1, "options": {"num_ctx": 1_000_000, "num_gpu": 0, "seed": 7}}
    left = {"keep_alive": None, "options": {"num_ctx": 8192, "num_gpu": None, "seed": 7}}
    bounds = {"contextTokens": 8192, "engineOptions": False}
    for action, status, got in (("clamp", 200, left), ("deny", 403, None), ("flag", 200, asked)):
        world.use(policy("ollama", input=[{"parameters": {**bounds, "action": action}}]))
        world.says({"model": "m-1", "response": "hi", "done": True})
        before = len(world.model.received)
        assert world.ask("/api/generate", {"model": "m-1", "prompt": "hi", **asked})[0] == status
        if got is None:
            assert len(world.model.received) == before
        else:
            assert json.loads(world.got()) == {"model": "m-1", "prompt": "hi", **got}
