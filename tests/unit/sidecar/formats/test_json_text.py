"""Strict JSON: what is refused and why, and that an edit changes nothing but what it names."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.formats.base import FormatError
from sidecar.formats.json_text import KEY, decode, location, splice, string_token
from sidecar.model.decision import Cause

REFUSED = {
    "empty": (b"", Cause.MALFORMED_BODY),
    "white space": (b" \n", Cause.MALFORMED_BODY),
    "invalid utf-8": (b'{"a": "\xff"}', Cause.MALFORMED_BODY),
    "overlong utf-8": (b'{"a": "\xc0\xaf"}', Cause.MALFORMED_BODY),
    "byte order mark": (b"\xef\xbb\xbf{}", Cause.MALFORMED_BODY),
    "utf-16": ('{"a": 1}'.encode("utf-16-le"), Cause.MALFORMED_BODY),
    "duplicate keys": (b'{"a": 1, "a": 2}', Cause.DUPLICATE_KEYS),
    "duplicate keys by escape": (b'{"a": 1, "\\u0061": 2}', Cause.DUPLICATE_KEYS),
    "duplicate keys deep": (b'[{"x": {"a": 1, "a": 1}}]', Cause.DUPLICATE_KEYS),
    "NaN": (b'{"a": NaN}', Cause.MALFORMED_BODY),
    "Infinity": (b"[-Infinity]", Cause.MALFORMED_BODY),
    "trailing data": (b"{} {}", Cause.MALFORMED_BODY),
    "trailing comma": (b"[1,]", Cause.MALFORMED_BODY),
    "truncated": (b'{"probe":', Cause.MALFORMED_BODY),
    "lone high surrogate": (b'{"a": "\\ud800"}', Cause.MALFORMED_BODY),
    "lone surrogate in a key": (b'{"\\udc00": 1}', Cause.MALFORMED_BODY),
    "control character": (b'{"a": "\x01"}', Cause.MALFORMED_BODY),
    "single quotes": (b"{'a': 1}", Cause.MALFORMED_BODY),
    "number of 5000 digits": (b"1" * 5000, Cause.MALFORMED_BODY),
    "33 levels": (b"[" * 33 + b"]" * 33, Cause.BODY_TOO_DEEP),
    "a million levels": (b"[" * 1_000_000, Cause.BODY_TOO_DEEP),
    "brackets in a string without end": (b"[" * 20 + b'"' + rb"\"[" * 20, Cause.MALFORMED_BODY),
    "400,000 escaped quotes": (b"[" * 33 + b'"' + rb"\"" * 400_000, Cause.BODY_TOO_DEEP),
    "deep objects": (b'{"a":' * 100_000, Cause.BODY_TOO_DEEP),
}


@pytest.mark.parametrize(("body", "cause"), REFUSED.values(), ids=REFUSED)
def test_what_two_parsers_could_read_differently_is_refused(body: bytes, cause: Cause) -> None:
    with pytest.raises(FormatError) as error:
        decode(body)
    assert error.value.cause is cause


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 32 + b"]" * 32,
        b'"' + b"[" * 5000 + b'"',
        b'["\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["]',
        b'"\\ud83d\\ude00"',
        b" 1 ",
    ],
)
def test_brackets_in_strings_are_no_depth_and_pairs_are_text(body: bytes) -> None:
    assert decode(body)[1] == json.loads(body)


def test_an_edit_leaves_every_other_byte_alone() -> None:
    text = '{ "n":12345678901234567890123.4500e+3, "a" : [ {"t":"x\\u00e9"} ,2.0],"t":"keep \\/", "z":{"t":"y"} }'
    changed = splice(text, {("a", 0, "t"): string_token('é"'), ("z",): "null"})
    assert changed == text.replace('"x\\u00e9"', '"é\\""').replace('{"t":"y"}', "null")


def test_escaped_keys_are_found() -> None:
    assert (
        splice('{"\\u0061":"x","b":[[],"y"]}', {("a",): '"1"', ("b", 1): '"2"'})
        == '{"\\u0061":"1","b":[[],"2"]}'
    )


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON_VALUES, st.booleans(), st.sampled_from([None, 1]))
def test_every_string_can_be_replaced_where_it_stands(
    value: object, ascii_only: bool, indent: int | None
) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    text, decoded = decode(body)
    paths: list[tuple[str | int, ...]] = []

    def mark(here: object, at: tuple[str | int, ...]) -> object:
        match here:
            case str():
                paths.append(at)
                return "X"
            case list():
                return [mark(item, (*at, index)) for index, item in enumerate(here)]
            case dict():
                return {key: mark(item, (*at, key)) for key, item in here.items()}
            case _:
                return here

    expected = mark(decoded, ())
    assert json.loads(splice(text, dict.fromkeys(paths, '"X"'))) == expected


def test_locations_read_like_paths() -> None:
    assert location(("messages", 0, "content", 1, "text")) == "messages[0].content[1].text"


@pytest.mark.parametrize(
    ("text", "renamed", "made"),
    [
        ('{"a": 1, "b": 2}', {"a": "[X]", "b": "[X]"}, '{"[X]": 1, "[X] 2": 2}'),
        ('{"a": 1, "[X]": 2, "[X] 2": 3}', {"a": "[X]"}, '{"[X] 3": 1, "[X]": 2, "[X] 2": 3}'),
        ('{"a": 1, "b": 2}', {"a": "b", "b": "a"}, '{"b": 1, "a": 2}'),
        ('{"a": 1, "b": 2}', {"a": "a"}, '{"a": 1, "b": 2}'),
    ],
)
def test_new_keys_never_make_two_of_one_object_alike(text: str, renamed: dict[str, str], made: str) -> None:
    assert splice(text, {(old, KEY): string_token(new) for old, new in renamed.items()}) == made


@given(st.dictionaries(st.sampled_from("abcd"), st.integers()), st.data())
def test_no_renaming_loses_a_member(members: dict[str, int], data: st.DataObject) -> None:
    names = st.sampled_from(["a", "b", "x", "x 2"])
    edits = {(old, KEY): string_token(data.draw(names)) for old in members if data.draw(st.booleans())}
    made = decode(
        splice(json.dumps([members]), {(0, *path): token for path, token in edits.items()}).encode()
    )[1]
    assert list(made[0].values()) == list(members.values())
