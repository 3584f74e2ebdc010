"""Reading YAML and JSON: a policy means what it looks like, and no text can exhaust the reader."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bartizan.errors import PolicyInvalid
from bartizan.policy.documents import (
    MAX_BYTES,
    Unreadable,
    check_tree,
    dump_document,
    join,
    load_document,
)
from bartizan.policy.validate import parse_policy


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("2026-01-01", "2026-01-01"),
        ("12:30:00", "12:30:00"),
        ("0755", "0755"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        (".inf", ".inf"),
        ("1e999", "1e999"),
        ("9" * 30, "9" * 30),
        ("true", True),
        ("null", None),
        ("", None),
        ("8443", 8443),
        ("-3", -3),
        ("0.1", 0.1),
        ("1.0", 1.0),
        ("'8443'", "8443"),
        ('"true"', "true"),
        ("|\n  a\n  b\n", "a\nb\n"),
        ("file:tls.crt", "file:tls.crt"),
    ],
)
def test_only_plain_words_and_decimal_numbers_are_not_text(text: str, value: object) -> None:
    loaded, problems = load_document(f"key: {text}")
    assert problems == []
    assert loaded == {"key": value}
    assert type(loaded["key"]) is type(value)


NUMBERS = st.from_regex(r"[-+]?[0-9]{1,3}(\.[0-9]{1,3})?([eE][-+]?[0-9]{1,2})?", fullmatch=True)
WORDS = st.sampled_from(
    ["no", "~", "", "null", "True", "0755", "1_000", "12:30:00", "2026-01-01", ".5", "=", "<<", "- a", "#"]
)
TEXTS = st.one_of(st.text(st.characters(codec="utf-8"), max_size=8), NUMBERS, WORDS)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.one_of(TEXTS, st.none(), st.booleans(), st.integers(-(10**17), 10**17), FLOATS)


@given(
    value=st.recursive(
        SCALARS,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
        max_leaves=6,
    )
)
@example(value=["1e5", "12E4", "1.5e3"])
@example(value=[0.5, 1e20, -1e-7, 0.01 / 3, 0.00012345678901234567])
def test_what_is_written_is_read_as_the_same(value: object) -> None:
    assert load_document(dump_document({"a": value})) == ({"a": value}, [])


def test_keys_are_always_text() -> None:
    assert load_document("{1: a, true: b, no: c}")[0] == {"1": "a", "true": "b", "no": "c"}


def test_aliases_stand_for_what_they_name() -> None:
    assert load_document("a: &x [1, {b: 2}]\nc: *x\nd: &y e\nf: *y")[0] == {
        "a": [1, {"b": 2}],
        "c": [1, {"b": 2}],
        "d": "e",
        "f": "e",
    }


def test_merge_keys_are_no_more_than_a_key() -> None:
    assert load_document("a: &x {b: 1}\nc: {<<: *x}")[0]["c"] == {"<<": {"b": 1}}


_BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("a: [1", "malformed", "line"),
        ("a: b: c", "malformed", "line 1, column 5"),
        ("a:\n\t- b", "malformed", "line 2"),
        ("", "malformed", "empty"),
        ("# nothing", "malformed", "empty"),
        ("a: 1\n---\nb: 2", "malformed", "line 2: a second document"),
        ("a: !!python/object/apply:os.system [id]", "malformed", "tags"),
        ("a: !!binary aGk=", "malformed", "tags"),
        ("a: !x 1", "malformed", "tags"),
        ("? [a, b]\n: c", "malformed", "key must be plain text"),
        ("? {a: b}\n: c", "malformed", "key must be plain text"),
        ("k: &k v\n*k : w", "malformed", "key must be plain text"),
        ("a: *nobody", "malformed", "unknown anchor"),
        ("a: &a [*a]", "malformed", "unknown anchor"),
        (_BOMB, "too_large", "aliases expanded"),
        ("[" * 5000, "too_large", "nested deeper"),
        ("{a: " * 5000, "too_large", "nested deeper"),
        ("- " * 100 + "x", "too_large", "nested deeper"),
        ("[" + "1," * 20_001 + "1]", "too_large", "more than"),
        ("x" * (MAX_BYTES + 1), "too_large", "at most"),
        (b"a: \xff", "malformed", "not UTF-8 at byte 3"),
        ("a: \x00", "malformed", "characters"),
        ('{"a": 1', "malformed", "line"),
    ],
)
def test_what_can_not_be_read_is_refused_with_its_place(text: str | bytes, code: str, message: str) -> None:
    with pytest.raises(Unreadable) as refusal:
        load_document(text)
    assert refusal.value.problem.code == code
    assert message in refusal.value.problem.message


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("a:\n\t- b", "spaces, not tabs"),
        ("a:\n  - b\n - c", "indented as"),
        ("a:\n  b: 1\n c: 2", "indented as"),
    ],
)
def test_of_what_is_no_yaml_the_likely_slip_is_named(text: str, hint: str) -> None:
    with pytest.raises(Unreadable) as refusal:
        load_document(text)
    assert hint in refusal.value.problem.hint


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("a: 1\na: 2", ["a"]),
        ("a:\n  - b: 1\n    b: 2\n  - c: {d: 1, d: 2}\n", ["a[0].b", "a[1].c.d"]),
        ('{"a": 1, "b": [{"c": 1, "c": 2, "c": 3}], "a": 2}', ["a", "b[0].c"]),
        ("a: 1\n'a': 2\n\"a\": 3", ["a", "a"]),
    ],
)
def test_every_duplicate_key_is_reported_with_its_path(text: str, paths: list[str]) -> None:
    _, problems = load_document(text)
    assert sorted(problem.path for problem in problems) == paths
    assert {problem.code for problem in problems} == {"duplicate_field"}


def test_a_duplicate_key_in_yaml_names_both_lines() -> None:
    _, problems = load_document("a:\n  b: 1\n  c: 2\n  b: 3\n")
    assert "lines 2 and 4" in problems[0].message


@pytest.mark.parametrize("value", [{"a": "\ud800"}, {"\udfff": 1}, [float("inf")], (1,), {1: 2}, b"x"])
def test_values_that_json_can_not_say_are_refused(value: object) -> None:
    with pytest.raises(Unreadable):
        check_tree(value)


def test_json_escapes_can_not_smuggle_half_a_character() -> None:
    with pytest.raises(PolicyInvalid, match="surrogate"):
        parse_policy('{"kind": "\\ud800"}')


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.text(max_size=8) | st.just(0.5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=5), _JSON, max_size=4))
def test_json_means_the_same_here_as_elsewhere(document: dict[str, Any]) -> None:
    assert load_document(json.dumps(document))[0] == document


@given(
    st.text(max_size=60) | st.text(alphabet="{}[]:,-&*!'\"ab1 \n#|>?", max_size=60) | st.binary(max_size=40)
)
def test_any_text_is_refused_or_a_policy(text: str | bytes) -> None:
    with pytest.raises(PolicyInvalid) as refusal:
        parse_policy(text)
    assert refusal.value.problems


@pytest.mark.parametrize(
    ("path", "step", "expected"),
    [
        ("", "spec", "spec"),
        ("spec.input", 2, "spec.input[2]"),
        ("a", "b.c", 'a["b.c"]'),
        ("a", "b-c", "a.b-c"),
    ],
)
def test_paths_are_written_as_authors_read_them(path: str, step: str | int, expected: str) -> None:
    assert join(path, step) == expected
