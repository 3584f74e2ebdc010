"""What is said of a valid policy without refusing it."""

from __future__ import annotations

from typing import Any

import pytest

from bartizan.policy.effective import effective_policy
from bartizan.policy.validate import Mesh, read_mesh, read_policy
from control_plane.policies.warnings import loosened, warnings_of
from tests.unit.control_plane.policies.test_mesh_service import mesh, policy


def meshes(*texts: bytes) -> list[Mesh]:
    return [read_mesh(read_policy(text)) for text in texts]


def said(text: bytes, *over: bytes) -> list[tuple[str, str, str]]:
    written, all_of_them = read_policy(text), meshes(*over)
    found = warnings_of(written, effective_policy(written, all_of_them))
    return [(each.document, each.path, each.code) for each in found]


TOKENS: Any = [{"sanitize": {}}, {"pii": {"replacement": "token"}}]
GUARDED = {"exfiltration": {"links": ["docs.example"]}}


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"input": TOKENS}, "spec.input[1].pii"),
        ({"input": TOKENS, "output": [{"exfiltration": {"action": "flag"}}]}, "spec.input[1].pii"),
        ({"input": TOKENS, "output": [GUARDED]}, ""),
        ({"input": [{"pii": {}}]}, ""),
        ({}, ""),
    ],
)
def test_tokens_without_a_check_of_links_are_told(spec: dict[str, Any], path: str) -> None:
    assert said(policy("chat", **spec)) == ([("", path, "unguarded_tokens")] if path else [])


def test_the_document_that_wrote_it_is_named_and_whichever_guards_it_counts() -> None:
    giving = mesh(defaults={"input": [{"pii": {"replacement": "token"}}]})
    assert said(policy("chat"), giving) == [
        ("MeshPolicy base", "spec.defaults.input[0].pii", "unguarded_tokens")
    ]
    assert said(policy("chat"), giving, mesh("links", priority=1, defaults={"output": [GUARDED]})) == []


STRICT: Any = {"input": [{"secrets": {"action": "deny"}}], "limits": {"body": {"max": "1KiB"}}}


def test_an_override_that_makes_an_endpoint_less_strict_is_told_and_a_stricter_one_is_not() -> None:
    loose = mesh(overrides={"input": [{"secrets": {"action": "flag"}}], "limits": {"body": {"max": "1MiB"}}})
    assert said(policy("chat", **STRICT), loose) == [
        ("MeshPolicy base", "spec.overrides.limits.body.max", "loosened_by_override"),
        ("MeshPolicy base", "spec.overrides.input[secrets].action", "loosened_by_override"),
    ]
    same = policy("chat", input=[{"secrets": {"action": "flag"}}])
    assert said(same, loose) == [], "1 MiB is what it has by default"


def test_of_several_the_one_that_does_it_is_named() -> None:
    loose = mesh("loose", overrides={"limits": {"body": {"max": "1MiB"}}})
    strong = mesh("strong", priority=9, overrides={"limits": {"body": {"max": "2KiB"}}, "mode": "enforce"})
    assert said(policy("chat", **STRICT), loose, strong) == [], "what is overridden itself does nothing"
    other = mesh("other", priority=9, overrides={"mode": "shadow"})
    assert [document for document, _, _ in said(policy("chat", **STRICT), loose, other)] == [
        "MeshPolicy other",
        "MeshPolicy loose",
    ]


def test_a_policy_that_only_overrides_make_valid_is_compared_with_nothing() -> None:
    written, over = read_policy(policy("chat", authn=None)), meshes(mesh(overrides={"authn": {"apiKeys": {"set": "x"}}}))  # fmt: skip
    assert loosened(written, over, over[0]) == []
