"""States of patterns and sizes of schemas are counted as an engine would write them out."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.checks.validators.complexity import MOST, pattern_states, schema_size


@pytest.mark.parametrize(
    ("pattern", "states"),
    [
        ("", 0),
        ("abc", 3),
        ("a{10}", 10),
        ("a{2,10}b", 11),
        ("a{3,}", 3),
        (r"\d{3}-\d{4}", 8),
        ("[^]a-z]{5}", 5),
        ("(ab){3}", 6),
        ("((a{10}){10}){10}", 1000),
        ("(a|b){2}c*", 5),
        (r"\{3}", 3),
        ("a{1000}{1000}{1000}{1000}", MOST),
        ("(" * 200_000, 0),
        ("[" * 400_000, 400_000),
        (r"[\]" * 3 + "a{3}", 9),
        (")" * 10, 10),
        ("(a{0000001000}){0000001000}", 1_000_000),  # zeros in front, as Python, Rust and ICU take them
        ("(a{ 1000 }){1, 1000}", 1_000_000),  # Rust's and grammars' blanks
        ("a{,0000000005}", 5),
        ("a{9999999999}", MOST),
        ("a{" + "9" * 5_000 + "}", MOST),
        ("(a{1000}) {1000}", 1_000_001),  # what stands between is nothing in a grammar
        ("(a{1000}) ~ 1000", 1_000_001),  # Lark's
        ("(a ~ 1..1000)~1..1000", 1_001_000),
        ("a ~b", 4),
        ("(?x)(a{1000})#b\n{1000}", MOST),  # where comments are nothing, nobody counts
        ("(a{1000})(?# b){1000}", MOST),
        (r"\(?x(?P<x>a)(?:x)", 9),
        ("{" * 400_000, 400_000),
        ("{1 ," * 100_000, 400_000),
    ],
)
def test_states_are_counted_with_repetitions_written_out(pattern: str, states: int) -> None:
    assert pattern_states(pattern) == states


def test_schemas_are_counted_with_their_patterns_and_lengths() -> None:
    assert schema_size({"type": "object", "properties": {"a": {"pattern": "a{9}", "maxLength": 20}}}) == 33
    assert schema_size({"maxItems": 10**400}) == MOST


def test_what_a_length_or_a_reference_repeats_is_written_out() -> None:
    item = {"type": "string", "maxLength": 10}
    assert schema_size(item) == 12
    assert schema_size({"items": item, "maxItems": 10}) == 1 + 10 + 120
    assert schema_size({"items": {"items": item, "maxItems": 100}, "maxItems": 100}) > 100_000
    assert schema_size({"additionalProperties": item, "maxProperties": 10}) == 1 + 10 + 120
    doubled: dict[str, Any] = {"a0": item}
    for number in range(1, 21):
        below = {"$ref": f"#/$defs/a{number - 1}"}
        doubled[f"a{number}"] = {"properties": {"x": below, "y": below}}
    assert schema_size({"$defs": doubled, "$ref": "#/$defs/a20"}) > 1_000_000


@pytest.mark.parametrize(
    ("schema", "size"),
    [
        ({"$defs": {"a/b": {"x": 1}}, "$ref": "#/$defs/a~1b"}, 7),
        ({"properties": {"next": {"$ref": "#"}}}, 4),
        ({"$ref": "#/missing/0"}, 3),
        ({"$ref": "https://schemas.example/a"}, 3),
        ({"allOf": [{"x": 1}], "$ref": "#/allOf/0"}, 7),
        (
            {"$defs": {f"a{n}": {"$ref": f"#/$defs/a{n + 1}"} for n in range(5_000)}, "$ref": "#/$defs/a0"},
            MOST,
        ),
    ],
)
def test_a_reference_counts_what_it_leads_to_and_ends(schema: Any, size: int) -> None:
    assert schema_size(schema) == size
