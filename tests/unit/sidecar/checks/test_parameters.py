"""What a request asks of the engine: bounds hold in every protocol, nothing else of the body changes."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest

from bartizan.policy.capabilities import ENGINE_PARAMETERS, SUPPORTED, required_by
from bartizan.policy.checks import Parameters
from sidecar.checks.catalog import build_checks
from sidecar.checks.content import ContentResult, inspect_document
from sidecar.formats.anthropic import AnthropicFormat
from sidecar.formats.base import Format
from sidecar.formats.json_fields import JsonFieldsFormat
from sidecar.formats.ollama import OllamaFormat
from sidecar.formats.openai import OpenAIFormat
from sidecar.model.finding import Action
from tests.support.compiled import policy

BOUNDS: dict[str, Any] = {
    "max_tokens": 100,
    "context_tokens": 200,
    "n": 2,
    "best_of": 2,
    "logprobs": 1,
    "pattern_states": 50,
    "schema_size": 50,
}


def judge(
    body: Any,
    *,
    form: Format | None = None,
    action: Literal["clamp", "deny", "flag"] = "clamp",
    shadow: bool = False,
) -> tuple[ContentResult, bytes]:
    checks = build_checks((Parameters(action=action, **BOUNDS),))
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    document = (form or OpenAIFormat()).decode_request("/v1/completions", "application/json", data)
    return inspect_document(document, checks, shadow=shadow), document.encode()


@pytest.mark.parametrize(
    ("body", "out"),
    [
        ({"logprobs": 0}, {"logprobs": None}),
        ({"logprobs": True, "top_logprobs": 0}, {"logprobs": False, "top_logprobs": 0}),
        ({"prompt_logprobs": 0}, {"prompt_logprobs": None}),
        ({"include": ["a", "message.output_text.logprobs"]}, {"include": ["a"]}),
        ({"include": ["a"]}, {"include": ["a"]}),
        ({"logprobs": False}, {"logprobs": False}),
    ],
)
def test_a_bound_of_no_log_probabilities_leaves_none(body: Any, out: Any) -> None:
    for action in ("clamp", "deny", "flag"):
        checks = build_checks((Parameters(action=action, logprobs=0),))
        data = json.dumps(body).encode()
        document = OpenAIFormat().decode_request("/v1/responses", "application/json", data)
        result = inspect_document(document, checks, shadow=False)
        assert {finding.kind for finding in result.findings} == ({"logprobs"} if body != out else set())
        assert json.loads(document.encode()) == (out if action == "clamp" else body)


@pytest.mark.parametrize(
    ("form", "body", "out"),
    [
        (OllamaFormat(), {"keep_alive": -1}, {"keep_alive": None}),
        (OllamaFormat(), {"keep_alive": None, "options": {"num_ctx": 9, "seed": 1}}, None),
        (
            OllamaFormat(),
            {
                "keep_alive": "24h",
                "options": {"num_gpu": 0, "num_batch": 10**6, "use_mmap": False, "top_k": 3},
            },
            {
                "keep_alive": None,
                "options": {"num_gpu": None, "num_batch": None, "use_mmap": None, "top_k": 3},
            },
        ),
        (OpenAIFormat(), {"priority": -5, "id_slot": 0}, {"priority": 0, "id_slot": None}),
        (OpenAIFormat(), {"priority": 0, "seed": 1, "temperature": 0.5}, None),
        (
            OpenAIFormat(),
            {"kv_transfer_params": {"remote_host": "10.0.0.1"}, "custom_logit_processor": "code"},
            {"kv_transfer_params": None, "custom_logit_processor": None},
        ),
        (
            AnthropicFormat(),
            {"max_tokens": 5, "kv_transfer_params": {"remote_host": "10.0.0.1"}},
            {"max_tokens": 5, "kv_transfer_params": None},
        ),
        (
            OpenAIFormat(),
            {"speculative.n_max": 10**6, "speculative.ngram_size_m": 10**6, "seed": 1},
            {"speculative.n_max": None, "speculative.ngram_size_m": None, "seed": 1},
        ),
        (
            JsonFieldsFormat(()),
            {"inputs": "hi", "parameters": {"adapter_id": "other", "top_k": 3}},
            {"inputs": "hi", "parameters": {"adapter_id": None, "top_k": 3}},
        ),
    ],
)
def test_how_an_engine_is_run_is_the_operators_to_say_where_the_policy_says_so(
    form: Format, body: Any, out: Any
) -> None:
    for action in ("clamp", "deny", "flag"):
        document = form.decode_request("/x", "application/json", json.dumps(body).encode())
        result = inspect_document(
            document, build_checks((Parameters(action=action, engine_options=False),)), shadow=False
        )
        assert {finding.kind for finding in result.findings} == (set() if out is None else {"engineOptions"})
        assert json.loads(document.encode()) == (body if out is None or action != "clamp" else out)
    document = form.decode_request("/x", "application/json", json.dumps(body).encode())
    assert inspect_document(document, build_checks((Parameters(),)), shadow=False).findings == ()


def test_adapters_that_a_request_chooses_can_not_be_left_out_and_are_denied() -> None:
    for action, wanted in (("clamp", Action.DENY), ("deny", Action.DENY), ("flag", Action.FLAG)):
        body = b'{"lora": [{"id": 0, "scale": 9}]}'
        document = OpenAIFormat().decode_request("/completion", "application/json", body)
        check = Parameters(action=action, engine_options=False)  # type: ignore[arg-type]
        result = inspect_document(document, build_checks((check,)), shadow=False)
        assert [(each.kind, each.action) for each in result.findings] == [("engineOptions", wanted)]
        assert document.encode() == body


@pytest.mark.parametrize(
    ("protocol", "config", "needed"),
    [
        ("openai", Parameters(max_tokens=5), False),
        ("ollama", Parameters(context_tokens=5), True),
        ("openai", Parameters(engine_options=False), True),
        ("json_fields", Parameters(max_tokens=5), True),
    ],
)
def test_a_bound_that_older_sidecars_do_not_know_goes_only_to_those_that_do(
    protocol: str, config: Parameters, *, needed: bool
) -> None:
    made = policy(model={"name": "m", "protocol": protocol}, input=[config])
    assert (ENGINE_PARAMETERS in required_by(made.spec)) is needed
    assert ENGINE_PARAMETERS in SUPPORTED


def test_numbers_above_their_bounds_are_set_to_them_and_no_other_byte_changes() -> None:
    body = b'{"max_tokens" :5000,\n "n": 3,  "temperature": 1.50, "logprobs": true, "top_logprobs":9, "best_of":2}'
    result, out = judge(body)
    assert out == body.replace(b"5000", b"100").replace(b'"n": 3', b'"n": 2').replace(b":9", b":1")
    assert {finding.kind for finding in result.findings} == {"maxTokens", "n", "logprobs"}
    assert result.action is Action.REDACT


@pytest.mark.parametrize(
    ("form", "body", "out"),
    [
        (AnthropicFormat(), {"max_tokens": 101, "thinking": {"type": "enabled", "budget_tokens": 200}},
         {"max_tokens": 100, "thinking": {"type": "enabled", "budget_tokens": 99}}),
        (AnthropicFormat(), {"max_tokens": 5000, "thinking": {"budget_tokens": 100}},
         {"max_tokens": 100, "thinking": {"budget_tokens": 99}}),
        (OllamaFormat(), {"options": {"num_predict": -1}}, {"options": {"num_predict": 100}}),
        (OllamaFormat(), {"logprobs": True, "top_logprobs": 20}, {"logprobs": True, "top_logprobs": 1}),
        (OpenAIFormat(), {"max_output_tokens": 10**30}, {"max_output_tokens": 100}),
        (OpenAIFormat(), {"max_tokens": 50, "n_predict": -1}, {"max_tokens": 50, "n_predict": 100}),
        (OpenAIFormat(), {"max_completion_tokens": 99, "min_tokens": 500},
         {"max_completion_tokens": 99, "min_tokens": 100}),
        (OllamaFormat(), {"options": {"num_ctx": 1_000_000, "num_predict": 5}},
         {"options": {"num_ctx": 200, "num_predict": 5}}),
        (OllamaFormat(), {"options": {"num_ctx": -1}}, {"options": {"num_ctx": 200}}),
        (OllamaFormat(), {"options": "num_ctx"}, {"options": "num_ctx"}),
        (JsonFieldsFormat(()), {"inputs": "hi", "parameters": {"max_new_tokens": 10**6, "top_k": 9}},
         {"inputs": "hi", "parameters": {"max_new_tokens": 100, "top_k": 9}}),
        (JsonFieldsFormat(()), {"sampling_params": [{"max_new_tokens": 9}, {"max_new_tokens": 900, "n": 9}]},
         {"sampling_params": [{"max_new_tokens": 9}, {"max_new_tokens": 100, "n": 2}]}),
        (JsonFieldsFormat(()), {"prompt": "hi", "n_predict": -1, "n_probs": 9},
         {"prompt": "hi", "n_predict": 100, "n_probs": 1}),
        (JsonFieldsFormat(()), {"text_input": "hi", "max_tokens": 500, "parameters": {"beam_width": 3}},
         {"text_input": "hi", "max_tokens": 100, "parameters": {"beam_width": 2}}),
        (JsonFieldsFormat(()), {"features": [1, 2], "n": 9, "parameters": 7}, {"features": [1, 2], "n": 9, "parameters": 7}),
        (JsonFieldsFormat(()), [{"max_tokens": 500}], [{"max_tokens": 500}]),
        (OpenAIFormat(), {"n": 1, "n_cmpl": 9, "n_probs": 50}, {"n": 1, "n_cmpl": 2, "n_probs": 1}),
    ],
)  # fmt: skip
def test_every_protocol_has_its_own_names(form: Format, body: Any, out: Any) -> None:
    assert json.loads(judge(body, form=form)[1]) == out


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"guided_regex": "(ab){26}"}, "guided_pattern"),
        ({"guided_regex": ["x"]}, "guided_pattern"),
        ({"structured_outputs": {"grammar": "x" * 51}}, "guided_pattern"),
        ({"guided_json": '{"maxItems": 51}'}, "guided_schema"),
        ({"guided_json": "{broken"}, "guided_schema"),
        ({"guided_json": {"pattern": "a{51}"}}, "guided_schema"),
        ({"response_format": {"json_schema": {"schema": {"enum": list(range(51))}}}}, "guided_schema"),
        ({"tools": [{}, {"function": {"parameters": {"minLength": 51}}}]}, "guided_schema"),
        ({"text": {"format": {"schema": {"maxLength": 1e12}}}}, "guided_schema"),
        ({"structural_tag": {"structures": [{"schema": {"maxItems": 51}}]}}, "guided_schema"),
        ({"structured_outputs": {"structural_tag": '{"format": {"maxItems": 51}}'}}, "guided_schema"),
        (
            {
                "response_format": {
                    "type": "structural_tag",
                    "structures": [{"begin": "<a>", "schema": {"maxItems": 51}}],
                }
            },
            "guided_schema",
        ),
        ({"response_format": {"type": "structural_tag", "format": {"maxItems": 51}}}, "guided_schema"),
        ({"grammar": "root ::= x{51}"}, "guided_pattern"),
        ({"guided_whitespace_pattern": "x{51}"}, "guided_pattern"),
        ({"structured_outputs": {"whitespace_pattern": "x{51}"}}, "guided_pattern"),
        ({"response_format": {"type": "regex", "value": "x{51}"}}, "guided_pattern"),
        ({"response_format": {"type": "json", "value": {"maxItems": 51}}}, "guided_schema"),
        ({"functions": [{"parameters": {"minLength": 51}}]}, "guided_schema"),
        ({"n": "2"}, "not_a_number"),
        ({"n": 1.5}, "not_a_number"),
        ({"n": [1]}, "not_a_number"),
    ],
)
def test_what_can_not_be_clamped_is_denied(body: Any, kind: str) -> None:
    result, _ = judge(body)
    assert [(finding.kind, finding.action) for finding in result.findings] == [(kind, Action.DENY)]


def test_what_is_within_its_bounds_is_no_finding() -> None:
    body = {
        "max_tokens": 100,
        "n": None,
        "logprobs": False,
        "guided_regex": "a{50}",
        "tools": "x",
        "best_of": 0,
    }
    assert judge(body)[0].findings == ()


def test_flags_and_shadow_change_nothing() -> None:
    for options in ({"action": "flag"}, {"shadow": True}):
        result, out = judge({"n": 3}, **options)
        assert (json.loads(out), result.changed, len(result.findings)) == ({"n": 3}, False, 1)
