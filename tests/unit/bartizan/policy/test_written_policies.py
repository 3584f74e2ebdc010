"""Policies as people write them, YAML: shorthands of checks, keys that come twice, kinds and tabs that are none."""

from __future__ import annotations

import pytest

from bartizan.errors import PolicyInvalid
from bartizan.policy.validate import parse_policy
from tests.unit.bartizan.policy.test_validate import changed, problems


def test_a_check_may_be_bare_empty_or_configured() -> None:
    policy = parse_policy(
        "apiVersion: bartizan.dev/v1alpha1\nkind: ModelPolicy\nmetadata: {name: a}\nspec:\n"
        "  selector: {matchLabels: {app: a}}\n  listener: {tls: none}\n  model: {name: a, protocol: openai}\n"
        "  tenants: [a]\n  authn: {apiKeys: {set: a}}\n"
        "  input:\n    - sanitize:\n    - promptInjection: {}\n    - pii: {action: deny}\n"
    )
    assert [type(check).__name__ for check in policy.spec.input] == ["Sanitize", "PromptInjection", "Pii"]


def test_a_duplicate_key_is_reported_beside_other_problems() -> None:
    text = "kind: ModelPolicy\napiVersion: v2\nmetadata: {name: a, name: b}\nspec: {}\nspec:\n  mode: x\n"
    with pytest.raises(PolicyInvalid) as refusal:
        parse_policy(text)
    found = {(problem.path, problem.code) for problem in refusal.value.problems}
    assert {
        ("metadata.name", "duplicate_field"),
        ("spec", "duplicate_field"),
        ("apiVersion", "invalid_value"),
    } <= found
    assert any("lines 4 and 5" in problem.message for problem in refusal.value.problems)


def test_a_document_of_no_known_kind_is_told_both() -> None:
    (problem,) = problems(changed(kind="meshpolicy"))
    assert (problem.message, problem.hint) == (
        "expected one of: ModelPolicy, MeshPolicy",
        "did you mean MeshPolicy?",
    )


def test_a_tab_is_told_as_such() -> None:
    with pytest.raises(PolicyInvalid) as refusal:
        parse_policy("a:\n\tb: 1\n")
    assert "indent with spaces, not tabs" in str(refusal.value)
