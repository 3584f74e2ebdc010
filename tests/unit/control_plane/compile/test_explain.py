"""`policy compile --explain`: every part of a policy with its place, and what a check there may do."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.compile.explain import explain
from tests.support.compiled import policy


@pytest.mark.parametrize(
    ("side", "check", "does"),
    [
        ("input", {"check": "sanitize"}, "may change the request body"),
        ("input", {"check": "promptInjection"}, "may refuse the request body"),
        ("input", {"check": "pii", "action": "flag"}, "records what it finds in the request body"),
        ("input", {"check": "parameters", "maxTokens": 9}, "may change the request body"),
        ("input", {"check": "image"}, "may change the request body"),
        ("output", {"check": "canary", "tokens": ["canary-55aa-word"]}, "may cut off the answer"),
        ("output", {"check": "markup", "action": "deny"}, "may refuse the answer"),
        ("output", {"check": "probabilities", "decimals": 2}, "may change the answer"),
    ],
)
def test_explanation_says_of_a_check_what_its_action_does(
    side: str, check: dict[str, Any], does: str
) -> None:
    [line] = [line for line in explain(policy(**{side: [check]})) if line.startswith(side)]
    assert f"reads and {does}" in line


def test_explanation_names_every_part_with_its_place() -> None:
    lines = explain(
        policy(
            authz=[
                {"name": "late", "deny": "request.stream"},
                {"name": "early", "allow": 'identity.plan == "a"'},
            ],
            input=[{"check": "pii"}],
            limits={"requests": [{"per": "key", "rate": "1/s"}]},
        )
    )
    found = {line.partition(" -> ")[0].strip(): line for line in lines}
    assert "ext_proc" in found["authz late"]
    assert found["bodies"].endswith("ext_authz, then ext_proc: pii may change the body")
    assert "ext_authz" in found["authz early"]
    assert "ext_proc" in found["input pii"]
    assert "ext_authz" in found["limits.requests"]
    assert "10485" in found["limits.body.max"]
