"""Definitions of secrets: the demo's shape is taken, everything else is refused with its path."""

from __future__ import annotations

from typing import Any

import pytest

from bartizan.errors import InvalidInput
from control_plane.secrets.definition import encode_definition, parse_definition

GOOD: dict[str, Any] = {
    "name": "upstream",
    "class": "provider",
    "path": "secrets/upstream",
    "provider": {"kind": "http", "socket": "/run/model/admin.sock"},
}


def test_a_definition_survives_the_store() -> None:
    parsed = parse_definition(GOOD)
    assert parse_definition(encode_definition(parsed)) == parsed
    assert parsed.provider.verify == "/keys/verify"


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"name": "Not A Name"}, "name"),
        ({"class": "database"}, "class"),
        ({"path": "../sys/raw"}, "path"),
        ({"path": "a//b"}, "path"),
        ({"provider": {"kind": "http", "url": "file:///etc/passwd"}}, "provider.url"),
        ({"provider": {"kind": "http", "revoke": "/keys"}}, "provider.revoke"),
        ({"provider": {"kind": "http", "key_header": "x y"}}, "provider.key_header"),
        ({"provider": {"kind": "http", "socket": "relative.sock"}}, "provider.socket"),
        ({"provider": {"kind": "ftp"}}, "provider.kind"),
    ],
)
def test_a_bad_definition_is_refused_with_its_path(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_definition({**GOOD, **changes})
    assert path in {problem.path for problem in caught.value.problems}


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(InvalidInput):
        parse_definition({**GOOD, "value": "the secret itself"})


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_what_is_no_definition_at_all_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_definition(text)
