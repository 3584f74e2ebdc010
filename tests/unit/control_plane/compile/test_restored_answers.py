"""Tokens of a request bring the answer through the guard; nothing else of a request does."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.compile.explain import explain
from tests.support.compiled import bundle, policy


@pytest.mark.parametrize(
    ("check", "read"),
    [
        ({"check": "pii", "replacement": "token"}, True),
        ({"check": "pii", "replacement": "token", "action": "flag"}, False),
        ({"check": "pii", "replacement": "mask"}, False),
        ({"check": "extractionWatch"}, False),
    ],
)
def test_answers_are_read_where_tokens_must_be_put_back_and_so_is_their_encoding(
    check: dict[str, Any], read: bool
) -> None:
    made = policy(input=[check])
    compiled = bundle(made)
    assert ("answers.errors" in compiled.requires) is not read
    routes = compiled.envoy.routes[0]["virtual_hosts"][0]["routes"]
    served = [route for route in routes if "route" in route]
    assert any(route.get("request_headers_to_remove") == ["accept-encoding"] for route in served) is read
    assert any("put back in the answer" in line for line in explain(made)) is read
