"""CEL rules: names and types are judged when a policy is written, errors while evaluating never allow."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bartizan.errors import ExpressionFailed, InvalidInput
from bartizan.policy.expressions import VARIABLES, compile_expression

IDENTITY = {
    "subject": "s-1",
    "tenant": "acme",
    "method": "api_key",
    "key_id": "k-1",
    "plan": "trial",
    "region": "eu",
    "models": ("llama-3-8b",),
}
REQUEST = {
    "method": "POST",
    "path": "/predict",
    "source_address": "192.0.2.7",
    "model": "llama-3-8b",
    "stream": False,
    "max_tokens": 64,
}
MODEL = {"name": "llama", "protocol": "openai", "labels": {"region": "eu"}}


def _evaluate(text: str, **identity: Any) -> bool:
    return compile_expression(text).evaluate({**IDENTITY, **identity}, REQUEST, MODEL)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("identity.region == model.labels.region", True),
        ('identity.plan == "trial" && request.model != "llama-3-8b"', False),
        ("request.model in identity.models", True),
        ("identity.models.exists(m, m.startsWith('llama'))", True),
        ("request.max_tokens <= 64 && !request.stream", True),
        ("has(model.labels.gpu) && model.labels.gpu == 'h100'", False),
        ("identity . tenant\n == // who pays\n 'acme'", True),
        ("request.source_address.matches('^192[.]0[.]2[.]')", True),
        ("identity.`region` == 'eu'", True),
        ("true", True),
        ("size(identity.models) == 1", True),
    ],
)
def test_a_rule_is_evaluated_on_the_attributes_it_names(text: str, expected: bool) -> None:
    assert _evaluate(text) is expected


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("identity.regoin == 'eu'", "identity.regoin", "identity.region"),
        ("identity.shoe_size == 42", "identity.shoe_size", "identity has: subject"),
        ("idenity.region == 'eu'", "idenity.region", "identity, request, model"),
        ("identity == 'x'", "'identity'", "identity has"),
        ("request.max_tokens + 'a' == 'b'", "(int, string)", ""),
        ("identity.region == 3", "(string, int)", ""),
        ("request.path", "STRING", ""),
        ("has(identity.region)", "STRING", "compare them with ''"),
        ("1 +", "Syntax error", ""),
        ("identity.region = 'eu'", "Syntax error", "compared by =="),
        ("identity.region='eu'", "Syntax error", "compared by =="),
        ("", "", ""),
        ("frobnicate(1)", "frobnicate", ""),
        ("request.path.matches('(')", "invalid regular expression", "RE2"),
        ("request.path == '' && identity.region.matches('[a')", "invalid regular expression", "RE2"),
        ("dyn(identity.region)", "DYN", ""),
        ("(" * 200 + "true" + ")" * 200, "", ""),
        ("true" + " " * 2048, "2048", ""),
        ("identity.region == '\ud800'", "", ""),
    ],
)
def test_what_does_not_type_check_is_refused_with_the_reason(text: str, message: str, hint: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        compile_expression(text)
    problem = refusal.value.problems[0]
    assert message in problem.message
    assert hint in problem.hint


def test_every_error_of_an_expression_is_reported() -> None:
    with pytest.raises(InvalidInput) as refusal:
        compile_expression("identity.a == 'x' && identity.b == 'y'")
    assert len(refusal.value.problems) == 2


@pytest.mark.parametrize(
    "text",
    [
        "model.labels.gpu == 'h100'",
        "model.labels['gpu'] == 'h100'",
        "identity.models[7] == 'x'",
        "1 / (request.max_tokens - 64) == 1",
        "request.path.matches(request.path == '' ? 'a' : '(')",
    ],
)
def test_an_error_while_evaluating_is_raised_and_never_a_verdict(text: str) -> None:
    with pytest.raises(ExpressionFailed):
        _evaluate(text)


def _loops(depth: int, start: str) -> str:
    text = "true"
    for name in "abcdefgh"[:depth]:
        text = f"[1,2,3,4,5,6,7,8,9,0].all({name}, {text})"
    return f"{start}{text}"


def test_loops_that_take_too_many_steps_are_refused() -> None:
    assert _evaluate(_loops(2, ""))
    with pytest.raises(InvalidInput, match="too many steps"):
        compile_expression(_loops(6, ""))


def test_loops_that_only_some_requests_reach_have_a_budget() -> None:
    rule = compile_expression(_loops(6, "identity.tenant != 'acme' || "))
    with pytest.raises(ExpressionFailed):
        rule.evaluate(IDENTITY, REQUEST, MODEL)


@pytest.mark.parametrize("identity", [{"region": 7}, {"region": "\ud800"}, {"region": None}])
def test_attributes_of_a_wrong_type_do_not_pass(identity: dict[str, Any]) -> None:
    with pytest.raises(ExpressionFailed):
        _evaluate("identity.region != 'us' && identity.region.startsWith('e')", **identity)


def test_a_missing_attribute_does_not_pass() -> None:
    with pytest.raises(ExpressionFailed):
        compile_expression("identity.region == ''").evaluate({}, REQUEST, MODEL)


def test_an_error_repeats_nothing_of_the_request() -> None:
    rule = compile_expression("model.labels[identity.subject] == 'x'")
    with pytest.raises(ExpressionFailed) as failure:
        rule.evaluate({**IDENTITY, "subject": "canary-81d2"}, REQUEST, MODEL)
    assert "canary" not in str(failure.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("identity.tenant == 'acme'", False),
        ("request.path == '/predict' && model.name == 'llama'", False),
        ("identity.tenant == 'request.model'", False),
        ("request.model == 'a'", True),
        ("request . model == 'a'", True),
        ("request.`model` == 'a'", True),
        ("!request.stream", True),
        ("request.max_tokens < 5", True),
        ("identity.models.exists(m, m == request.model)", True),
    ],
)
def test_a_rule_knows_whether_it_needs_the_body(text: str, expected: bool) -> None:
    assert compile_expression(text).uses_body is expected


def test_every_variable_can_be_named() -> None:
    for root, fields in VARIABLES.items():
        for field in fields:
            assert _evaluate(f"{root}.{field} == {root}.{field}")


@given(st.text(max_size=60))
def test_any_text_compiles_or_is_refused(text: str) -> None:
    with contextlib.suppress(InvalidInput):
        assert compile_expression(text).text == text


def test_threads_may_share_an_expression() -> None:
    rule = compile_expression("identity.region == model.labels.region")

    def work(number: int) -> bool:
        region = "eu" if number % 2 else "us"
        return rule.evaluate({**IDENTITY, "region": region}, REQUEST, MODEL) is bool(number % 2)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(2000)))
