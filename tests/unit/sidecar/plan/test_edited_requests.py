"""A request that checks edited means what was judged: names stay, and the new body is read again before it goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from bartizan.policy.bundle import GuardModel
from bartizan.policy.checks import InputCheck, Parameters, Pii, Sanitize, Secrets
from bartizan.policy.engines import patches
from bartizan.policy.schema import AuthzRule, Crs, Protocol, Route
from sidecar.checks.admission.request_rate import Buckets
from sidecar.checks.waf.check import WafCheck
from sidecar.checks.waf.messages import Answer, Hit, Question
from sidecar.formats.base import Format
from sidecar.formats.predict import PredictFormat
from sidecar.model.decision import Cause
from sidecar.model.request import Identity, RequestHead
from sidecar.plan.judge import Judgement, judge_request
from sidecar.plan.load import load_plan
from tests.support.guard import guard_plan

ASKED: dict[str, Any] = {"model": "small", "messages": [{"role": "user", "content": "hi"}]}
TOOL_CALL = "tools/call"


def judge(
    body: Any,
    *checks: InputCheck,
    protocol: Protocol = "openai",
    path: str = "/v1/chat/completions",
    shadow: bool = False,
    waf: WafCheck | None = None,
    form: Format | None = None,
) -> Judgement:
    plan = load_plan(
        guard_plan(
            model=GuardModel(name="m", protocol=protocol),
            input=checks or (Sanitize(),),
            routes=(Route(path="/predict", input_text=("$.model",)),) if protocol == "json_fields" else (),
            body_authz=(AuthzRule(name="no-big", deny='request.model == "big"'),),
            patches=patches("vllm"),
            mode="shadow" if shadow else "enforce",
        ),
        Buckets(clock=lambda: 0.0),
    )
    head = RequestHead(
        stream_id="s",
        method="POST",
        path=path,
        headers={"content-type": "application/json"},
        source_address="127.0.0.1",
    )
    caller = Identity(subject="k1", tenant="acme", method="api_key")
    plan = replace(plan, waf=waf, format=form or plan.format)
    return judge_request(plan, caller, head, json.dumps(body).encode(), lambda: 0)


def refused(judged: Judgement) -> tuple[Cause, str]:
    assert judged.refusal is not None
    return judged.refusal.cause, judged.refusal.detail


@pytest.mark.parametrize(
    "more",
    [
        {"\uff4dodel": "big"},
        {"mo\u200bdel": "big"},
        {"\uff4dax_tokens": 1_000_000},
        {"\uff4e": 500},
        {"\uff50rompt": [40, 10889]},
        {"\uff50rompt_embeds": "gASV"},
        {"\uff43hat_template": "{{ x }}"},
        {"metadata": {"\uff41": 1, "a": 2}},
    ],
    ids=ascii,
)
def test_a_key_that_a_check_would_change_is_refused_with_its_place(more: dict[str, Any]) -> None:
    judged = judge({**ASKED, **more})
    assert refused(judged) == (Cause.AMBIGUOUS_BODY, "name")
    assert any(found.kind == "name_would_change" and found.location for found in judged.findings)


@pytest.mark.parametrize(
    ("protocol", "path", "body"),
    [
        ("anthropic", "/v1/messages", {**ASKED, "max_tokens": 5, "\uff4dax_tokens": 9000}),
        ("ollama", "/api/generate", {"model": "m", "prompt": "x", "\uff43ontext": [1, 2, 3]}),
        ("mcp", "/mcp", {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "\uff4dethod": TOOL_CALL}),
        ("kserve_v1", "/v1/models/m:predict", {"instances": [{"\uff42" + "64": "aGk="}]}),
        ("kserve_v2", "/v2/models/m/infer", {"inputs": [], "\uff49nputs": [{"name": "x"}]}),
    ],
)
def test_keys_stay_in_every_protocol(protocol: Protocol, path: str, body: Any) -> None:
    assert refused(judge(body, protocol=protocol, path=path)) == (Cause.AMBIGUOUS_BODY, "name")


def test_a_key_with_personal_data_is_refused_not_renamed() -> None:
    judged = judge({**ASKED, "metadata": {"anna@example.org": 1}}, Pii())
    assert refused(judged) == (Cause.AMBIGUOUS_BODY, "name")
    assert [found.kind for found in judged.findings] == ["email", "name_would_change"]


@pytest.mark.parametrize(
    "body",
    [
        {**ASKED, "model": "\uff42ig"},
        {**ASKED, "model": "b\u200big"},
        {"messages": [{"role": "user", "content": [{"type": "\uff49mage_url", "image_url": {"url": "x"}}]}]},
        {"messages": [], "tools": [{"type": "\uff46unction", "function": {"name": "f"}}]},
    ],
    ids=ascii,
)
def test_an_identifier_that_a_check_would_change_is_refused(body: Any) -> None:
    judged = judge(body)
    assert judged.refusal is not None
    assert judged.refusal.cause in {Cause.AMBIGUOUS_BODY, Cause.VIRTUAL_PATCH}


@pytest.mark.parametrize(
    ("protocol", "path", "body", "detail"),
    [
        (
            "mcp",
            "/mcp",
            {
                "jsonrpc": "2.0",
                "id": 1,
                "method": TOOL_CALL,
                "params": {"content": {"type": "\uff49mage", "data": "iVBORw0KGgo="}},
            },
            "unscanned",
        ),
        ("json_fields", "/predict", {"model": "\uff42ig"}, "model"),
    ],
)
def test_an_edited_body_that_reads_otherwise_is_refused(
    protocol: Protocol, path: str, body: Any, detail: str
) -> None:
    assert refused(judge(body, protocol=protocol, path=path)) == (Cause.AMBIGUOUS_BODY, detail)


def test_a_text_that_only_an_edit_makes_a_picture_is_refused() -> None:
    body = {"instances": ["data:image/png;base64,aGk=", "\uff44ata:image/png;base64,aGk="]}
    form = PredictFormat("kserve_v1", strict=False, pictures=True)
    judged = judge(body, protocol="kserve_v1", path="/v1/models/m:predict", form=form)
    assert refused(judged) == (Cause.AMBIGUOUS_BODY, "images")


def test_a_text_that_an_edit_lets_be_read_as_json_is_judged_as_such() -> None:
    hidden = '{"k": "\\u0041KIAIOSFODNN7QXZMPLE", "x": \uff11}'
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": hidden}}
    body = {"messages": [{"role": "assistant", "tool_calls": [call]}]}
    judged = judge(body, Sanitize(), Secrets())
    assert judged.refusal is not None


@pytest.mark.parametrize(
    ("content", "sent"),
    [
        ("mail anna@example.org\u200b", "mail [EMAIL]"),
        ("\uff28\uff49", "Hi"),
        ("\u200b", ""),
    ],
)
def test_texts_are_edited_as_before(content: str, sent: str) -> None:
    judged = judge({"messages": [{"role": "user", "content": content}]}, Sanitize(), Pii())
    assert judged.refusal is None
    assert judged.body is not None
    assert json.loads(judged.body)["messages"][0]["content"] == sent


def test_arguments_and_numbers_are_edited_as_before() -> None:
    arguments = json.dumps({"to": "anna@example.org", "card": 4111111111111111, "type": "\uff21"})
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    body = {"max_tokens": 500, "messages": [{"role": "assistant", "tool_calls": [call]}], "n": 9}
    judged = judge(body, Sanitize(), Pii(), Parameters(max_tokens=100, n=1))
    assert judged.refusal is None
    assert judged.body is not None
    sent = json.loads(judged.body)
    assert (sent["max_tokens"], sent["n"]) == (100, 1)
    said = json.loads(sent["messages"][0]["tool_calls"][0]["function"]["arguments"])
    assert said == {"to": "[EMAIL]", "card": "[CARD]", "type": "A"}


class OnScripts:
    """In the place of the rules' process: says that a body with a script's tag is an attack."""

    def judge(self, question: Question) -> Answer:
        return Answer(hits=(Hit(rule=941100, level=1),), exceeded=b"<script" in question.body)


@pytest.mark.parametrize("note", ["<script>", "\uff1cscript\uff1e", "<scr\u200bipt>"], ids=ascii)
def test_the_firewall_sees_what_goes_on(note: str) -> None:
    body = {**ASKED, "metadata": {"note": note}}
    assert refused(judge(body, waf=WafCheck(Crs(), OnScripts()))) == (Cause.WAF, "")


def test_shadow_mode_says_what_enforcing_had_refused() -> None:
    judged = judge({**ASKED, "\uff4dodel": "big"}, shadow=True)
    assert refused(judged) == (Cause.AMBIGUOUS_BODY, "name")
