"""What the firewall's rules are shown, what their answer leads to, and that a plan is refused without them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bartizan.errors import ResourceRejected
from bartizan.policy.bundle import GuardModel, GuardPlan
from bartizan.policy.capabilities import SUPPORTED, WAF
from bartizan.policy.schema import Crs, Route
from benchmarks.waf import regression_cases
from sidecar.checks.admission.request_rate import Buckets
from sidecar.checks.waf import firewall, ruleset
from sidecar.checks.waf.check import _OVERLAP, MOST_BODY, WafCheck, _pieces
from sidecar.checks.waf.messages import Answer, Hit, Question
from sidecar.formats.anthropic import AnthropicFormat
from sidecar.formats.base import Format
from sidecar.formats.json_fields import JsonFieldsFormat
from sidecar.formats.mcp import McpFormat
from sidecar.formats.ollama import OllamaFormat
from sidecar.formats.openai import OpenAIFormat
from sidecar.formats.predict import PredictFormat
from sidecar.model.finding import Action
from sidecar.model.request import RequestHead
from sidecar.plan.load import load_plan


class Asked:
    """Says what it was told to say, and remembers the question."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.question: Question | None = None

    def judge(self, question: Question) -> Answer:
        self.question = question
        return self.answer

    def shown(self) -> list[tuple[str, str]]:
        assert self.question is not None
        return [
            (name, value)
            for piece in json.loads(self.question.body or b"[]")
            for name, value in piece.items()
        ]


def head(**headers: str) -> RequestHead:
    sent = {
        ":authority": "model.example",
        "x-request-id": "1",
        "x-bartizan-a": "b",
        "user-agent": "c",
        **headers,
    }
    return RequestHead(
        stream_id="", method="POST", path="/p", headers=sent, source_address="", target="/p?q=%3C"
    )


CHAT: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "the prompt", "name": "jane"}],
    "tools": [{"type": "function", "function": {"name": "f", "description": "the prompt too"}}],
    "metadata": {"note": "not a prompt"},
    "temperature": 0.5,
}


def ask(body: dict[str, Any], answer: Answer = Answer(), **crs: Any) -> tuple[Any, Asked]:  # noqa: B008 - frozen
    asked = Asked(answer)
    data = json.dumps(body).encode()
    form = OpenAIFormat()
    check = WafCheck(Crs(**crs), asked)
    verdict = check.judge(head(), data, lambda: form.decode_request("/p", "application/json", data))
    return verdict, asked


def test_rules_see_what_is_no_prompt_and_no_header_of_ours() -> None:
    _, asked = ask(CHAT)
    values = dict(asked.shown())
    assert values["model"] == "m"
    assert values["note"] == "not a prompt"
    assert values["temperature"] == ""
    assert "prompt" not in " ".join(value for value in values.values() if value != "not a prompt")
    assert "jane" not in values.values()
    assert asked.question is not None
    assert asked.question.target == "/p?q=%3C"
    assert dict(asked.question.headers).keys() == {"user-agent", "host", "content-type", "content-length"}


def test_rules_see_prompts_where_the_policy_says_so() -> None:
    _, asked = ask(CHAT, prompt_fields="scan")
    assert {"the prompt", "the prompt too", "jane"} <= {value for _, value in asked.shown()}


def test_fields_that_a_policy_declares_as_text_are_its_prompts() -> None:
    asked = Asked(Answer())
    form = JsonFieldsFormat([Route(path="/p", input_text=("$.text",))])
    data = b'{"text": "the prompt", "other": "shown"}'
    WafCheck(Crs(), asked).judge(head(), data, lambda: form.decode_request("/p", "application/json", data))
    assert asked.shown() == [("other", "shown"), ("text", "")]


ATTACK = "1' OR 1=1 UNION SELECT password FROM users--"
FORMATS: dict[str, Format] = {
    "openai": OpenAIFormat(),
    "anthropic": AnthropicFormat(),
    "ollama": OllamaFormat(),
    "mcp": McpFormat(),
    "kserve_v1": PredictFormat("kserve_v1", strict=False),
}
CALL = {
    "jsonrpc": "2.0",
    "method": "tools/call",
    "params": {"name": "read", "arguments": {"path": ATTACK, "n": [{"q": "x"}]}},
}


@pytest.mark.parametrize(
    ("protocol", "body", "name", "value"),
    [
        ("mcp", CALL, "path", ATTACK),
        ("mcp", CALL, "q", "x"),
        ("mcp", {**CALL, "params": {"uri": ATTACK}}, "uri", ATTACK),
        ("mcp", {**CALL, "params": {"arguments": {ATTACK: "x"}}}, ATTACK, "x"),
        ("kserve_v1", {"instances": [{ATTACK: "prose"}]}, ATTACK, ""),
        ("openai", {"model": "m", "messages": [{"content": "hi", "foo": ATTACK}]}, "foo", ATTACK),
        ("openai", {"model": "m", "messages": [{"content": "hi", ATTACK: 1}]}, ATTACK, ""),
        ("anthropic", {"messages": [{"role": "user", "content": "hi", "foo": ATTACK}]}, "foo", ATTACK),
        ("anthropic", {"metadata": {"user_id": ATTACK}, "messages": []}, "user_id", ATTACK),
        ("ollama", {"model": "m", "prompt": "hi", "options": {ATTACK: 1}}, ATTACK, ""),
    ],
)
def test_rules_see_keys_unknown_fields_and_arguments_of_tools(
    protocol: str, body: Any, name: str, value: str
) -> None:
    asked, data = Asked(Answer()), json.dumps(body).encode()
    form = FORMATS[protocol]
    verdict = WafCheck(Crs(), asked).judge(
        head(), data, lambda: form.decode_request("/v1/x", "application/json", data)
    )
    assert (name, value) in asked.shown()
    assert "hi" not in [shown for _, shown in asked.shown()]
    assert verdict.unscanned == (("waf_prompts",) if protocol == "kserve_v1" else ())


@pytest.mark.parametrize(
    ("exceeded", "mode", "refused", "actions"),
    [
        (True, "block", "waf", {"942100": Action.DENY, "strict-942200": Action.FLAG}),
        (True, "detect", "", {"942100": Action.FLAG, "strict-942200": Action.FLAG}),
        (False, "block", "", {"942100": Action.FLAG, "strict-942200": Action.FLAG}),
    ],
)
def test_only_the_policys_own_level_blocks(
    exceeded: bool, mode: str, refused: str, actions: dict[str, Action]
) -> None:
    answer = Answer(hits=(Hit(rule=942100, level=1), Hit(rule=942200, level=2)), exceeded=exceeded)
    verdict, _ = ask(CHAT, answer, mode=mode)
    assert verdict.refused == refused
    assert {finding.kind: finding.action for finding in verdict.findings} == actions


@pytest.mark.parametrize(("mode", "refused"), [("block", "waf_body_limit"), ("detect", "")])
def test_a_body_beyond_the_limit_is_not_shown_and_says_so(mode: str, refused: str) -> None:
    verdict, asked = ask({**CHAT, "notes": ["a" * 500] * (MOST_BODY // 500 + 5)}, mode=mode)
    assert asked.question is None
    assert (verdict.refused, verdict.unscanned) == (refused, ("waf_body_limit",))


@given(st.text(min_size=1, max_size=4000), st.integers(0, 3999))
def test_no_attack_of_the_overlaps_length_hides_between_two_pieces(text: str, at: int) -> None:
    attack = text[at : at + _OVERLAP]
    assert any(attack in piece for piece in _pieces(text))


def plan() -> GuardPlan:
    return GuardPlan(
        id="1.1",
        policy="default/a",
        revision=1,
        model=GuardModel(name="a", protocol="opaque"),
        tenants=("acme",),
        api_key_set="keys",
        waf=Crs(),
    )


def test_a_plan_is_refused_where_the_rules_are_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(ruleset.SETTING, str(tmp_path))
    with pytest.raises(ResourceRejected, match="modsecurity-crs") as refused:
        load_plan(plan(), Buckets(clock=lambda: 0.0))
    assert refused.value.path == "spec.waf.crs"
    assert not firewall.available()


def test_a_plan_is_refused_where_the_rules_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "REQUEST-901-X.conf").write_text("SecNonsense on\n")
    monkeypatch.setenv(ruleset.SETTING, str(tmp_path))
    with pytest.raises(ResourceRejected, match="the rules can't be read"):
        load_plan(plan(), Buckets(clock=lambda: 0.0))


def test_rules_of_a_folder_judge_in_a_process_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rule = 'SecRule ARGS "@contains attack" "id:1000001,phase:2,pass,log,tag:\'paranoia-level/2\'"\n'
    (tmp_path / "REQUEST-999-X.conf").write_text(rule)
    monkeypatch.setenv(ruleset.SETTING, str(tmp_path))
    wall = firewall.Firewall(1)
    body = b'[{"note": "an attack"}]'
    headers = (("host", "a"), ("content-type", "application/json"), ("content-length", str(len(body))))
    assert wall.judge(Question(method="POST", target="/", headers=headers, body=body)) == Answer()


def test_the_capability_is_one_of_this_release() -> None:
    assert WAF in SUPPORTED


def test_regression_tests_of_both_forms_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        """
tests:
  - test_title: 942100-1
    stages:
      - stage:
          input: {method: GET, uri: "/?a=1", headers: {Host: a}}
          output: {log_contains: 'id "942100"'}
  - test_id: 2
    stages:
      - input: {method: POST, data: "a=b", headers: {Host: a}}
        output: {log: {expect_ids: [942110], no_expect_ids: [942120]}}
  - test_id: 3
    stages:
      - input: {method: POST, data: ["--x", 'Content-Disposition: form-data; name="a"', "", "b", "--x--"], headers: {Content-Type: multipart/form-data; boundary=x}}
        output: {log: {expect_ids: [920120]}}
  - test_id: 4
    stages:
      - input: {method: POST, data: xy, headers: {Host: a}, stop_magic: true}
        output: {log: {expect_ids: [920340]}}
"""
    )
    first, second, form, bare = regression_cases(tmp_path)
    assert (first.expected, first.question.target) == (frozenset({942100}), "/?a=1")
    assert (second.expected, second.forbidden) == (frozenset({942110}), frozenset({942120}))
    assert second.question.body == b"a=b"
    assert ("content-type", "application/x-www-form-urlencoded") in second.question.headers
    assert form.question.body.startswith(b"--x\r\nContent-Disposition: form-data")
    assert bare.question.headers == (("host", "a"),)
